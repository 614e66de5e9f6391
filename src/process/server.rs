//! Fork servers: this process's own ones, and the life of a process that is one. See [`context`](super::context).
#![allow(unsafe_code)] // runs the initialiser of the same image, and forks with one thread

use super::child::{self, MOST_SERVED, Message, Work};
use super::children::{self, Started};
use super::context::Context;
use super::entry::Plain;
use super::family_of;
use super::start::{self, Prepared};
use crate::error::{Error, Kind, Result, Subject};
use crate::init::How;
use crate::sys::forkserver::{self, Client, Served, Server};
use crate::sys::{self, Armed, Lifeline, LifelineEnd, OwnedFile};
use offspring_core::points::{Point, hit};
use offspring_core::prim::{AtomicBool, Ordering};
use offspring_core::process::ProcessRef;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What tells the servers of one process apart.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    generation: u32,
    executable: Option<Arc<Path>>,
    warm: Option<Plain>,
}

impl Key {
    fn of(context: &Context) -> Result<Self> {
        let warm = context.warm.map(Plain::of).transpose()?;
        let executable = context.executable.clone();
        Ok(Self { generation: sys::generation(), executable, warm })
    }
}

/// A server that was started, and serves unless it was killed.
struct Running {
    key: Key,
    client: Client,
    process: sys::Child,
    /// Once that is known: whether it can serve, and else why not. Nobody waits for it under the lock of `SERVERS`, as the server
    /// may be stopped, or its initialiser hang, and this process is to end all the same.
    ready: OnceLock<Result<(), String>>,
    /// This process ends, and ended it.
    over: AtomicBool,
    /// It ends when these are closed.
    _lifeline: (Lifeline, LifelineEnd),
}

impl Running {
    /// Waits until it serves. Whoever asks is told the same.
    fn await_ready(self: &Arc<Self>) -> Result<()> {
        let ready = self.ready.get_or_init(|| {
            let why = match self.client.await_ready() {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(why)) => why.trim_end().to_owned(),
                Err(error) if error.is_peer_gone() => {
                    let status = self.wait();
                    format!("it {status} before it served (see what it wrote to stderr)")
                }
                Err(error) => {
                    let _ = self.process.pidfd().send_signal(sys::signal::KILL);
                    error.to_string()
                }
            };
            self.wait();
            Err(why)
        });
        let Err(why) = ready else { return Ok(()) };
        servers().retain(|one| !Arc::ptr_eq(one, self));
        Err(Error::new(Kind::ParticipantLost, Subject::None, format!("start a fork server: {why}")))
    }

    /// Waits until it has ended, and takes back what it held.
    fn wait(&self) -> sys::ExitStatus {
        let status = sys::status::wait(&self.process);
        if let Some(family) = family_of() {
            family.note_gone(self.process.pid(), ProcessRef::NONE);
        }
        status
    }
}

static SERVERS: Mutex<Vec<Arc<Running>>> = Mutex::new(Vec::new());

fn servers() -> MutexGuard<'static, Vec<Arc<Running>>> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server for `context`, started if there is none, and not `but` that one, which is gone. One is started at a time.
fn running(context: &Context, but: Option<&Arc<Running>>) -> Result<Arc<Running>> {
    let running = found_or_started(context, but)?;
    running.await_ready()?;
    Ok(running)
}

fn found_or_started(context: &Context, but: Option<&Arc<Running>>) -> Result<Arc<Running>> {
    let key = Key::of(context)?;
    let mut servers = servers();
    if let Some(gone) = but
        && let Some(place) = servers.iter().position(|one| Arc::ptr_eq(one, gone))
    {
        let gone = servers.swap_remove(place);
        // It cannot serve; should it live, it must not stay.
        let _ = gone.process.pidfd().send_signal(sys::signal::KILL);
        gone.wait();
    }
    if let Some(running) = servers.iter().find(|running| running.key == key) {
        return Ok(Arc::clone(running));
    }
    let running = Arc::new(start(key, context)?);
    servers.push(Arc::clone(&running));
    Ok(running)
}

/// Starts one, which is not ready yet.
fn start(key: Key, context: &Context) -> Result<Running> {
    let failed = |error| Error::caused(Kind::Os, Subject::None, "start a fork server", error);
    let (client, files) = forkserver::pair().map_err(failed)?;
    let how = start::how(context)?;
    // Under libtest the main thread waits for the one that runs the entry.
    let threads = if matches!(how, How::Test(_)) { 2 } else { 1 };
    let work = Work::Serve { warm: key.warm, threads };
    let (process, lifeline) = start::execute_server(how, context, work, files)?;
    let (ready, over) = (OnceLock::new(), AtomicBool::new(false));
    Ok(Running { key, client, process, ready, over, _lifeline: lifeline })
}

/// Sees to it that there is one.
pub(super) fn ahead(context: &Context) -> Result<()> {
    running(context, None).map(drop)
}

/// Starts a child by the server for `context`.
pub(super) fn launch(context: &Context, prepared: Prepared, work: Work) -> Result<Arc<Started>> {
    let name = prepared.birth.told.name.clone();
    let failed =
        |error| Error::caused(Kind::Os, Subject::None, format!("start process `{name}`"), error);
    let Prepared { birth, record, files, streams } = prepared;
    let daemon = birth.told.daemon;
    let count = files.len() as u32;
    let message = Message {
        version: child::VERSION,
        image: sys::image::Image::main().identity().to_vec(),
        work,
        birth,
        files: count,
    };
    let bytes = start::encoded(&message)?;
    if bytes.len() > MOST_SERVED {
        let text = "start a process: its environment is too long; set fewer variables";
        return Err(Error::new(Kind::TooLarge, Subject::None, text));
    }
    let mut server = running(context, None)?;
    let mut attempts = 3;
    loop {
        let (lifeline, end) = Lifeline::pair().map_err(failed)?;
        let mut fds = vec![end.fd()];
        fds.extend(files.iter().chain(&streams).map(sys::borrow));
        match server.client.fork(&fds) {
            Ok(process) => {
                hit(Point::StartForked);
                match lifeline.send_message(&bytes, None) {
                    // It ended before it had read it: `join` tells.
                    Err(error) if !error.is_peer_gone() => {
                        let _ = process.pidfd().send_signal(sys::signal::KILL);
                        return Err(failed(error));
                    }
                    _ => {}
                }
                hit(Point::StartSent);
                return Ok(children::enter(name, daemon, record, process, (lifeline, end)));
            }
            // The lifeline's end goes before it was told anything: whoever was forked ends without having begun.
            // ORDER: Relaxed. A flag of its own; it was set before the server was ended, which this thread was told by the system.
            Err(error) if error.is_peer_gone() && server.over.load(Ordering::Relaxed) => {
                return Err(failed(error));
            }
            Err(error) if error.is_peer_gone() && attempts > 0 => {
                attempts -= 1;
                server = running(context, Some(&server))?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Ends the server for `context`, if there is one.
pub(super) fn end_one(context: &Context) -> Result<()> {
    let key = Key::of(context)?;
    end(|running| running.key == key, false);
    Ok(())
}

/// Ends this process's servers, once its children have ended. A thread that waits for one of them meanwhile, or for an answer, is
/// told that it is gone.
pub(super) fn end_all() {
    end(|_| true, true);
}

/// A parent's, in a fork of it, are neither used nor closed here.
fn end(which: impl Fn(&Running) -> bool, over: bool) {
    let generation = sys::generation();
    let ended: Vec<_> = servers()
        .extract_if(.., |running| running.key.generation == generation && which(running))
        .collect();
    for running in &ended {
        // ORDER: Relaxed, as in `launch`.
        running.over.store(over, Ordering::Relaxed);
        running.client.finish();
    }
    let until = sys::now().after(GRACE.as_nanos() as u64);
    for running in ended {
        if sys::status::wait_deadline(&running.process, until).is_none() {
            // Stopped, perhaps; nobody needs it.
            let _ = running.process.pidfd().send_signal(sys::signal::KILL);
        }
        running.wait();
    }
}

/// How long a server may take to end after it was told that nobody needs it.
const GRACE: Duration = Duration::from_secs(2);

/// What a process that is to be a server has.
pub(super) struct Orders {
    pub(super) warm: Option<Plain>,
    /// It runs the image of its parent.
    pub(super) image: bool,
    pub(super) threads: u32,
    pub(super) files: Vec<OwnedFile>,
    pub(super) lifeline: Armed,
}

/// Is a fork server, until nobody needs one.
pub(super) fn serve(orders: Orders) -> ! {
    let Orders { warm, image, threads, files, lifeline } = orders;
    let Ok([requests, reports]) = <[OwnedFile; 2]>::try_from(files) else {
        std::process::exit(super::NEVER_BEGAN)
    };
    let server = Server::new(requests, reports);
    if let Err(why) = warmed(warm, image, threads) {
        server.refuse(&why);
        std::process::exit(1);
    }
    // SAFETY: F1: `warmed` counted the threads: this one, and under libtest the one that waits for it.
    match unsafe { server.serve() } {
        Ok(Served::InFork(mut files)) => {
            lifeline.close_in_fork();
            if files.is_empty() {
                std::process::exit(super::NEVER_BEGAN);
            }
            match LifelineEnd::from_fd(files.remove(0)) {
                Ok(end) => child::run_served(end, files),
                Err(_) => std::process::exit(super::NEVER_BEGAN),
            }
        }
        Ok(Served::Over) => std::process::exit(0),
        Err(error) => {
            eprintln!("offspring: a fork server ends: {error}");
            std::process::exit(1)
        }
    }
}

/// Runs the initialiser. Errors: why this process cannot be a server.
fn warmed(warm: Option<Plain>, image: bool, threads: u32) -> Result<(), String> {
    if let Some(warm) = warm {
        if !image {
            return Err("its initialiser is a function of another program".to_owned());
        }
        // SAFETY: E1: the images were compared.
        let ran = catch_unwind(AssertUnwindSafe(|| unsafe { warm.call() }));
        match ran {
            Ok(ran) => ran.map_err(str::to_owned)?,
            Err(payload) => {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                let text = text.unwrap_or("(no message)");
                return Err(format!("its initialiser panicked: {text}"));
            }
        }
    }
    if !children::all().is_empty() {
        return Err("its initialiser left a process behind".to_owned());
    }
    let found = sys::thread_count().map_err(|error| error.to_string())?;
    if found > threads as usize {
        return Err(format!(
            "it has {found} threads, and may have {threads}: its initialiser must leave none behind, nor what runs \
             before `init`"
        ));
    }
    Ok(())
}
