//! Hot reload: a new configuration takes over while listeners, connections and requests in flight go on.
//!
//! Everything new is made before anything is exchanged, so a file that cannot be served changes nothing. What a layer
//! counts or stores it takes over from its namesake ([`Assembly::new`]); each worker's stack is exchanged by [`Swap`].

mod hangup;
mod paths;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower_gateway::BoxError;
use tower_gateway::serve::{Listener, RedirectToHttps, Swap};

use self::hangup::Hangup;
use self::watch::Watch;
use crate::assemble::{Assembly, Clients};
use crate::config::listeners::need_restart;
use crate::config::stamp::Files;
use crate::config::{self, Config, Faults, Finding, Loaded};
use crate::listeners::Listeners;
use crate::shared::Shared;

/// What is being served, and by whom. `S` is a worker's stack, and `R` that of a listener that redirects.
pub(crate) struct Running<S, R> {
    make: Stacks<S, R>,
    /// What the process was started with: a key that needs a restart is compared with this.
    started: Started,
    listeners: Listeners,
    current: Mutex<Current>,
    workers: Mutex<Vec<Worker<S>>>,
    redirects: Mutex<Vec<(RedirectToHttps, Swap<R>)>>,
}

/// How stacks are made of what a configuration came to.
type Stacks<S, R> = (fn(&Assembly, &Clients) -> S, fn(&Assembly, RedirectToHttps) -> R);

struct Started {
    server: config::Server,
    listeners: BTreeMap<String, config::Listener>,
}

struct Current {
    assembly: Assembly,
    server: config::Server,
    watch: bool,
    /// What was read last, to no avail perhaps.
    files: Files,
}

struct Worker<S> {
    /// A stack is made within the runtime that its connections will live on.
    runtime: Handle,
    clients: Clients,
    stack: Swap<S>,
    /// The same, as its connections have it.
    shared: Shared<Swap<S>>,
}

/// A configuration that took over.
pub(crate) struct Reloaded {
    pub(crate) warnings: Vec<Finding>,
    /// Keys whose change has no effect before a restart.
    pub(crate) restart: Vec<&'static str>,
}

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReloaded {
    #[error(transparent)]
    Faults(#[from] Faults),
    /// Of the file nothing can be said, but the machine does not let it be served.
    #[error(transparent)]
    Assembly(BoxError),
}

impl<S, R> Running<S, R> {
    pub(crate) fn new(loaded: &Loaded, make: Stacks<S, R>) -> Result<Self, BoxError> {
        let assembly = Assembly::new(&loaded.config, None)?;
        let Config { server, listeners, .. } = &loaded.config;
        Ok(Self {
            make,
            started: Started { server: server.clone(), listeners: listeners.clone() },
            listeners: Listeners::new(&loaded.config)?,
            current: Mutex::new(Current::new(loaded, assembly)),
            workers: Mutex::default(),
            redirects: Mutex::default(),
        })
    }

    /// What is to be listened on, when nothing is yet.
    pub(crate) fn listeners(&self, config: &Config) -> Vec<Listener> {
        self.listeners.listeners(config)
    }

    /// The stack of one more worker. To be called within its runtime.
    pub(crate) fn worker(&self) -> Shared<Swap<S>> {
        let current = lock(&self.current);
        let clients = current.assembly.clients(&Clients::new());
        let stack = Swap::new((self.make.0)(&current.assembly, &clients));
        let shared = Shared::new(stack.clone());
        lock(&self.workers).push(Worker { runtime: Handle::current(), clients, stack, shared: shared.clone() });
        shared
    }

    /// The stack of one worker for one more listener that redirects.
    pub(crate) fn redirect(&self, redirect: RedirectToHttps) -> Swap<R> {
        let stack = Swap::new((self.make.1)(&lock(&self.current).assembly, redirect));
        lock(&self.redirects).push((redirect, stack.clone()));
        stack
    }

    /// Reads `file` and lets it take over. One at a time; it may take as long as reading files does.
    pub(crate) fn reload(&self, file: &Path) -> Result<Reloaded, NotReloaded> {
        let mut current = lock(&self.current);
        let loaded = Config::load(file);
        // Whatever comes of it: it is to be read again when it changes, and not before.
        let (Ok(Loaded { files, .. }) | Err(Faults { files, .. })) = &loaded;
        current.files.clone_from(files);
        let loaded = loaded?;
        let assembly = Assembly::new(&loaded.config, Some(&current.assembly)).map_err(NotReloaded::Assembly)?;
        let listeners = Listeners::new(&loaded.config).map_err(NotReloaded::Assembly)?;
        let mut workers = lock(&self.workers);
        let made: Vec<(Clients, S)> = workers.iter().map(|worker| self.stack(&assembly, worker)).collect();
        for (worker, (clients, stack)) in workers.iter_mut().zip(made) {
            let _within = worker.runtime.enter();
            worker.clients = clients;
            drop(worker.stack.replace(stack));
            // Nothing old is kept until somebody asks for something.
            worker.shared.renew();
        }
        for (redirect, stack) in lock(&self.redirects).iter() {
            drop(stack.replace((self.make.1)(&assembly, *redirect)));
        }
        self.listeners.replace(&listeners, &loaded.config);
        *current = Current::new(&loaded, assembly);
        let mut restart = loaded.config.server.needs_restart(&self.started.server);
        if need_restart(&loaded.config.listeners, &self.started.listeners) {
            restart.push("listeners");
        }
        Ok(Reloaded { warnings: loaded.warnings, restart })
    }

    fn stack(&self, assembly: &Assembly, worker: &Worker<S>) -> (Clients, S) {
        let _within = worker.runtime.enter();
        let clients = assembly.clients(&worker.clients);
        let stack = (self.make.0)(assembly, &clients);
        (clients, stack)
    }

    /// From now on whoever asks for this gateway's health learns that it leaves, and how long that is to be known before
    /// listeners close, and how long requests may go on then.
    pub(crate) fn leave(&self) -> (Duration, Duration) {
        let current = lock(&self.current);
        current.assembly.health().set_draining();
        (current.server.drain_delay, current.server.shutdown_grace)
    }

    /// What is to be watched; nothing when nothing is.
    fn watched(&self) -> Files {
        let current = lock(&self.current);
        if current.watch { current.files.clone() } else { Files::new() }
    }
}

impl Current {
    fn new(loaded: &Loaded, assembly: Assembly) -> Self {
        let Config { server, reload, .. } = &loaded.config;
        Self { assembly, server: server.clone(), watch: reload.watch, files: loaded.files.clone() }
    }
}

/// A panic within would be one of making an assembly or its stacks, before anything is exchanged.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a reload is to follow on.
pub(crate) struct Triggers {
    hangup: Hangup,
    watch: Watch,
}

impl Triggers {
    /// From now on SIGHUP does not end the process. To be called within a runtime.
    pub(crate) fn new() -> Result<Self, BoxError> {
        Ok(Self { hangup: Hangup::new()?, watch: Watch::new() })
    }

    /// Reloads `file` whenever there is a reason to, from now on and for as long as the process lives.
    pub(crate) fn follow<S: Send + 'static, R: Send + 'static>(
        self,
        running: Arc<Running<S, R>>,
        file: PathBuf,
    ) -> io::Result<()> {
        let reloads = Reloads::start(running.clone(), file.clone())?;
        tokio::spawn(self.pass_on(running, file, reloads));
        Ok(())
    }

    async fn pass_on<S, R>(mut self, running: Arc<Running<S, R>>, file: PathBuf, reloads: Reloads) {
        loop {
            if let Err(error) = self.watch.set(running.watched()) {
                eprintln!("warning: not all of {} can be watched: {error}; send SIGHUP after a change", file.display());
            }
            tokio::select! {
                () = self.hangup.received() => {}
                () = self.watch.changed() => {}
            }
            reloads.one().await;
        }
    }
}

/// The thread that reloads: to read files and make a hundred thousand routes is not for a thread that others wait for.
/// It is always the same one, since an allocator keeps what it once needed for each thread that has been.
struct Reloads(mpsc::Sender<oneshot::Sender<()>>);

impl Reloads {
    fn start<S: Send + 'static, R: Send + 'static>(running: Arc<Running<S, R>>, file: PathBuf) -> io::Result<Self> {
        let (sender, asked) = mpsc::channel::<oneshot::Sender<()>>();
        let within = Handle::current();
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            let _within = within.enter();
            for done in asked {
                // What it panics with has been printed, and the old configuration stays.
                let _ = catch_unwind(AssertUnwindSafe(|| report(&file, running.reload(&file))));
                let _ = done.send(());
            }
        })?;
        Ok(Self(sender))
    }

    /// Reloads once, and returns when that is done.
    async fn one(&self) {
        let (done, is_done) = oneshot::channel();
        let _ = self.0.send(done);
        let _ = is_done.await;
    }
}

fn report(file: &Path, outcome: Result<Reloaded, NotReloaded>) {
    let file = file.display();
    match outcome {
        Ok(Reloaded { warnings, restart }) => {
            crate::print_findings("warning", &warnings);
            for key in restart {
                eprintln!("warning: {key} has changed, which needs a restart; until then it stays as it was");
            }
            eprintln!("{file}: reloaded");
        }
        Err(NotReloaded::Faults(Faults { faults, warnings, .. })) => {
            crate::print_findings("error", &faults);
            crate::print_findings("warning", &warnings);
            eprintln!("{file}: not reloaded, the configuration before it stays");
        }
        Err(NotReloaded::Assembly(error)) => {
            eprintln!("error: {error}");
            eprintln!("{file}: not reloaded, the configuration before it stays");
        }
    }
}
