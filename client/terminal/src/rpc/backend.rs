//! The way to a profile, for commands: the open profile in this process, or the process that holds it.

use super::{
    Context, Method, Nothing, Progress, connection::Connection, events::EventObject, server::Serving,
    subscription::Subscribe,
};
use crate::{Failure, cli::Options, output::ENROLLED_ANEW, password};
use std::{io::Write as _, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, sleep},
};
use waxwing_core::{Client, Error, Event, Events, Message, ProfilePath};

/// How long a command waits for a profile that another process holds and serves nobody with.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it begins anew when others were faster to open the profile.
const TRIES: usize = 5;

/// How long it waits between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// For how long a profile is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For one short command.
    Once,
    /// For long: other commands go through this process, if it is the one that holds the profile.
    Hold,
}

/// See the module.
pub(crate) enum Backend {
    /// This process holds the profile.
    Own(Own),
    /// Another process does.
    Holder(Connection),
}

/// The profile, open in this process.
pub(crate) struct Own {
    context: Context,
    serving: Option<Serving>,
}

/// What somebody who listens hears.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is handed on at once, and nearly always an event")]
pub(crate) enum Happening {
    /// Something happened.
    Event(Event),
    /// So many events were left out: look again.
    Missed,
    /// The profile was locked.
    Locked,
    /// The process that holds the profile has ended.
    Ended,
}

impl Happening {
    /// Waits for the next message that a command has written; none if there will be none.
    pub(super) async fn written(written: &mut broadcast::Receiver<Message>) -> Option<Self> {
        match written.recv().await {
            Ok(message) => Some(Self::Event(Event::Message(message))),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Self::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// What happens, one after the other.
pub(crate) enum Happenings {
    Own(Events, Option<broadcast::Receiver<Message>>),
    Holder(mpsc::UnboundedReceiver<EventObject>),
}

impl Backend {
    /// Finds the process that holds the profile, or opens it here; asks for the password only if it is needed.
    pub(crate) async fn open(options: &Options, purpose: Purpose) -> Result<Self, Failure> {
        // Wrong settings are said before a password is asked.
        let auto_lock = options.auto_lock()?;
        let (profile, password_file) = (options.profile()?, options.password_file.as_deref());
        Self::open_profile(&profile, password_file, options.json, auto_lock, purpose).await
    }

    /// The same for a profile that needs no command line.
    pub(crate) async fn open_profile(
        profile: &ProfilePath,
        password_file: Option<&Path>,
        quiet: bool,
        auto_lock: Option<Duration>,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let mut tries = TRIES;
        loop {
            if let Some(connection) = find(profile).await? {
                return Ok(Self::Holder(connection));
            }
            tries -= 1;
            match password::open(profile, password_file, quiet).await {
                // Somebody was faster, perhaps while the password was typed: go through them.
                Err(Failure::Core(Error::ProfileInUse(_))) if tries > 0 => {}
                opened => {
                    let client = opened?;
                    if purpose == Purpose::Once {
                        tokio::spawn(say_if_enrolled_anew(client.events()));
                    }
                    return Ok(Self::own(profile, client, auto_lock, purpose));
                }
            }
        }
    }

    /// The process that holds the profile, if one does.
    pub(crate) async fn find(profile: &ProfilePath) -> Result<Option<Self>, Failure> {
        Ok(find(profile).await?.map(Self::Holder))
    }

    /// The profile that was just opened here.
    pub(crate) fn own(profile: &ProfilePath, client: Client, auto_lock: Option<Duration>, purpose: Purpose) -> Self {
        let client = Arc::new(client);
        let serving = (purpose == Purpose::Hold).then(|| Serving::start(profile, &client, auto_lock));
        let holding = serving.as_ref().map(|serving| serving.holding.clone());
        let context = Context { client, profile: profile.clone(), holding, caller: None, progress: None };
        Self::Own(Own { context, serving })
    }

    /// Asks for something.
    pub(crate) async fn call<M: Method>(&self, params: M::Params) -> Result<M::Result, Failure> {
        match self {
            Self::Own(own) => M::run(&own.context, params).await,
            Self::Holder(connection) => connection.call::<M>(params, None).await,
        }
    }

    #[allow(dead_code, reason = "for methods that take long")]
    /// Asks for something that takes long, and hears how far it has come.
    pub(crate) async fn call_with_progress<M: Method>(
        &self,
        params: M::Params,
        mut watch: impl FnMut(Progress),
    ) -> Result<M::Result, Failure> {
        let (progress, mut progressed) = mpsc::unbounded_channel();
        let calling = async {
            match self {
                Self::Own(Own { context, .. }) => {
                    let context = Context {
                        client: context.client.clone(),
                        profile: context.profile.clone(),
                        holding: context.holding.clone(),
                        caller: None,
                        progress: Some(progress),
                    };
                    M::run(&context, params).await
                }
                Self::Holder(connection) => connection.call::<M>(params, Some(progress)).await,
            }
        };
        tokio::pin!(calling);
        loop {
            tokio::select! {
                biased;
                Some(progress) = progressed.recv() => watch(progress),
                done = &mut calling => return done,
            }
        }
    }

    /// Everything that happens from now on.
    pub(crate) async fn happenings(&self) -> Result<Happenings, Failure> {
        Ok(match self {
            Self::Own(own) => {
                let written = own.context.holding.as_ref().map(|holding| holding.written());
                Happenings::Own(own.context.client.events(), written)
            }
            Self::Holder(connection) => {
                let events = connection.listen();
                connection.call::<Subscribe>(Nothing {}, None).await?;
                Happenings::Holder(events)
            }
        })
    }

    /// Connects, and from now on reconnects by itself.
    pub(crate) fn go_online(&self) {
        // Who holds a profile for others is online already, or becomes so with the first question that needs it.
        if let Self::Own(own) = self {
            own.context.client.go_online();
        }
    }

    /// The user did something: an automatic lock waits again.
    pub(crate) fn touch(&self) {
        if let Self::Own(Own { serving: Some(serving), .. }) = self {
            serving.holding.touch();
        }
    }

    /// Waits until this process has to lock the profile; then [`Self::finish`] with [`Error::Locked`].
    pub(crate) async fn must_lock(&self) {
        match self {
            Self::Own(Own { serving: Some(serving), .. }) => serving.holding.must_lock().await,
            // Its holder says so by an event.
            _ => std::future::pending().await,
        }
    }

    /// Whether other commands can reach the profile through this process.
    pub(crate) fn is_reachable(&self) -> bool {
        matches!(self, Self::Own(Own { serving: Some(serving), .. }) if serving.is_reachable())
    }

    /// Ends what `done` tells the end of: locks the profile if that is why it ended, else closes it.
    pub(crate) async fn finish<T>(self, done: Result<T, Failure>) -> Result<T, Failure> {
        match done {
            Err(Failure::Core(Error::Locked)) => self.lock().await?,
            _ => self.close().await,
        }
        done
    }

    /// Closes the profile after sending what is due. What was done is on disk already: a failure here changes nothing.
    pub(crate) async fn close(self) {
        let Self::Own(Own { context, serving }) = self else { return };
        if let Some(mut serving) = serving {
            serving.retire();
            serving.end().await;
        }
        close(&context.client).await;
    }

    /// Forgets the key that was kept on this device and closes the profile, so that only the password opens it.
    async fn lock(self) -> Result<(), Failure> {
        let Self::Own(Own { context, serving }) = self else { return Ok(()) };
        let forgotten = context.profile.forget();
        let Some(mut serving) = serving else {
            close(&context.client).await;
            return Ok(forgotten.map(drop)?);
        };
        serving.retire();
        close(&context.client).await;
        serving.tell_locked();
        serving.end().await;
        Ok(forgotten.map(drop)?)
    }
}

/// The process that holds the profile, if one does. One that listens to nobody is given some time to end.
async fn find(profile: &ProfilePath) -> Result<Option<Connection>, Failure> {
    if !profile.exists() {
        return Err(Error::NoProfile(profile.name().to_owned()).into());
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(connection) = Connection::open(profile).await {
            return Ok(Some(connection));
        }
        if !profile.is_held()? {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Err(Error::ProfileInUse(profile.name().to_owned()).into());
        }
        sleep(LOOK).await;
    }
}

/// A command that listens to nothing says at least this one thing, on standard error.
async fn say_if_enrolled_anew(mut events: Events) {
    while let Some(event) = events.recv().await {
        if let Event::EnrolledAnew { .. } = event {
            // Where standard error is closed, 'waxwing devices' still shows it.
            let _ = writeln!(std::io::stderr(), "waxwing: {ENROLLED_ANEW}");
        }
    }
}

async fn close(client: &Client) {
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "closing");
    }
}

impl Happenings {
    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Happening {
        match self {
            Self::Own(events, None) => events.recv().await.map_or(Happening::Ended, Happening::Event),
            Self::Own(events, Some(written)) => tokio::select! {
                // A message before what becomes of it.
                biased;
                Some(happening) = Happening::written(written) => happening,
                event = events.recv() => event.map_or(Happening::Ended, Happening::Event),
            },
            Self::Holder(events) => loop {
                match events.recv().await {
                    None => return Happening::Ended,
                    Some(object) => {
                        if let Some(happening) = happening(object) {
                            return happening;
                        }
                    }
                }
            },
        }
    }

    /// The next one, if it is here already.
    pub(crate) fn next_now(&mut self) -> Option<Happening> {
        match self {
            Self::Own(events, written) => {
                let written = written.as_mut().and_then(|written| written.try_recv().ok()).map(Event::Message);
                written.or_else(|| events.try_recv().ok()).map(Happening::Event)
            }
            Self::Holder(events) => std::iter::from_fn(|| events.try_recv().ok()).find_map(happening),
        }
    }
}

/// What a notification means here; none if it is of a newer version.
fn happening(object: EventObject) -> Option<Happening> {
    match object {
        EventObject::Locked => Some(Happening::Locked),
        EventObject::Missed { .. } => Some(Happening::Missed),
        object => object.event().ok().flatten().map(Happening::Event),
    }
}
