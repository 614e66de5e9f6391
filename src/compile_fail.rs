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

/// A process that was not started cannot be joined, ended or waited for: it is no `Process` yet.
///
/// ```compile_fail,E0599
/// let _ = offspring::Process::builder("not started").join();
/// ```
///
/// ```compile_fail,E0599
/// let _ = offspring::Process::builder("not started").terminate();
/// ```
///
/// ```compile_fail,E0599
/// let _ = offspring::Process::builder("not started").sentinel();
/// ```
struct NotStarted;

/// A process is started by its making, and never again.
///
/// ```compile_fail,E0599
/// # fn again(child: offspring::Process<u32>) {
/// child.start();
/// # }
/// ```
struct StartedTwice;

/// Whether it is a daemon is said before it is started.
///
/// ```compile_fail,E0599
/// # fn later(child: offspring::Process<u32>) {
/// child.daemon(true);
/// # }
/// ```
struct DaemonLater;

/// No process has a handle on itself to wait for.
///
/// ```compile_fail,E0599
/// offspring::process::current().join();
/// ```
struct JoinsItself;

/// A handle stays in the process that started the child.
///
/// ```compile_fail,E0277
/// fn elsewhere(child: offspring::Process<u32>) {
///     let _ = offspring::Process::spawn(|child: offspring::Process<u32>| drop(child), child);
/// }
/// ```
struct HandleElsewhere;

/// A context keeps its start method.
///
/// ```compile_fail,E0599
/// # fn change(context: offspring::process::Context) {
/// context.set_start_method(offspring::process::StartMethod::Spawn);
/// # }
/// ```
struct ContextChanged;

/// A server is warmed by a function, not by a module's name.
///
/// ```compile_fail,E0308
/// # fn warm(context: offspring::process::Context) {
/// let _ = context.warmed_by("module");
/// # }
/// ```
struct WarmedByName;

/// A pool belongs to the process that made it.
///
/// ```compile_fail,E0277
/// # fn pass(pool: offspring::Pool) {
/// let child = offspring::Process::spawn(|pool: offspring::Pool| drop(pool), pool);
/// # }
/// ```
struct PoolTravels;
