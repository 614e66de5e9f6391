//! What the compiler refuses: examples that must not compile, run as documentation tests.

/// A function that runs in another process captures nothing: what it needs travels as its argument.
///
/// ```compile_fail,E0308
/// let more = 1;
/// let child = offspring::Process::spawn(move |n: u32| n + more, 2);
/// ```
///
/// ```
/// let child: fn() -> _ = || offspring::Process::spawn(|(n, more): (u32, u32)| n + more, (2, 1));
/// ```
struct Captures;

/// Arguments and values travel as bytes.
///
/// ```compile_fail,E0277
/// let child = offspring::Process::spawn(|n: std::time::Instant| drop(n), std::time::Instant::now());
/// ```
struct Unserialisable;

/// A value is taken once.
///
/// ```compile_fail,E0382
/// # fn twice(child: offspring::Process<u32>) {
/// let first = child.join();
/// let second = child.join();
/// # }
/// ```
struct JoinedTwice;

/// A lease ends once.
///
/// ```compile_fail,E0382
/// # fn twice(lease: offspring::queue::Lease<u32, u32>) {
/// lease.commit();
/// let _ = lease.reply(1);
/// # }
/// ```
struct EndedTwice;

/// A lease on what may not leave its thread stays there.
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<offspring::queue::Lease<std::rc::Rc<u32>>>();
/// ```
struct LeaseOfLocal;

/// The guard of `main` ends where it began.
///
/// ```compile_fail,E0277
/// # fn elsewhere(guard: offspring::Main) {
/// std::thread::spawn(move || drop(guard));
/// # }
/// ```
struct GuardElsewhere;
