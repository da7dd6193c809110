//! The smallest plugin: it is told about events and logs them.
use plinth_sdk::*;

struct Greeter;

impl EventListener for Greeter {
    fn on_event(event: Event) -> Result<(), HookError> {
        info!("saw an event", topic = event.topic, subject = event.subject);
        Ok(())
    }
}

plugin!(Greeter: event_listener);
