//! `subscribe`: what happens, as notifications on the connection that asked.
//!
//! A subscriber who does not read keeps nobody waiting and fills no memory: events that find no room are left out, and
//! how many they were is told as soon as there is room.

use super::{Context, Happening, Method, Nothing, events::EventObject, wire::Outbox};
use crate::Failure;
use tokio::sync::broadcast;
use waxwing_core::{Events, Message};

/// `subscribe`
pub(crate) struct Subscribe;

impl Method for Subscribe {
    const NAME: &'static str = "subscribe";
    const SUMMARY: &'static str = "From now on tells what happens, as notifications 'event' on this connection";
    type Params = Nothing;
    type Result = Nothing;

    async fn run(context: &Context, _: Nothing) -> Result<Nothing, Failure> {
        if let (Some(outbox), Some(holding)) = (&context.caller, &context.holding)
            && outbox.subscribe()
        {
            tokio::spawn(forward(context.client.events(), holding.written(), outbox.clone()));
        }
        Ok(Nothing {})
    }
}

/// Passes events on until the profile is closed or the connection ends.
async fn forward(mut events: Events, mut written: broadcast::Receiver<Message>, outbox: Outbox) {
    let (mut missed, mut open) = (0, true);
    loop {
        let event = tokio::select! {
            // A message before what becomes of it.
            biased;
            () = outbox.closed() => return,
            // Room came before the next event: what was left out is told now.
            () = outbox.room(), if missed > 0 => EventObject::Missed { count: std::mem::take(&mut missed) },
            Some(happening) = Happening::written(&mut written) => match happening {
                Happening::Event(event) => EventObject::from(&event),
                _ => EventObject::Missed { count: 1 },
            },
            event = events.recv(), if open => match event {
                Some(event) => EventObject::from(&event),
                // The profile is closed; the connection ends next, and says whether that was locking.
                None => {
                    open = false;
                    continue;
                }
            },
        };
        if missed > 0 || outbox.try_notify("event", &event).is_err() {
            missed += match event {
                EventObject::Missed { count } => count,
                _ => 1,
            };
        }
    }
}
