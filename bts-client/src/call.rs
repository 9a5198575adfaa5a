//! An operation under way, as its caller holds it. Dropping it cancels the operation, and what it
//! had taken already is put back.

use std::time::Duration;

use bts_core::client::{Handle, Op, Outcome};
use bts_core::content::{Access, Put};
use bts_core::ids::{ReplicaId, SpaceName};
use bts_core::message::Found;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};

use crate::error::{ConnectError, Effect};

/// What callers ask of the driver.
pub(crate) enum Command {
    /// Do this.
    Invoke(Invocation),
    /// The caller does not wait any more.
    Cancel(Handle),
    /// The caller left before it got what it took.
    PutBack(SpaceName, Put),
    /// Tell when enough replicas have welcomed us.
    Ready(Duration, oneshot::Sender<Result<(), ConnectError>>),
    /// End everything; tell when it is done.
    Close(oneshot::Sender<()>),
}

/// An operation on its way to the driver.
pub(crate) struct Invocation {
    pub(crate) handle: Handle,
    pub(crate) op: Op,
    pub(crate) deadline: Option<Duration>,
    pub(crate) answer: oneshot::Sender<Ended>,
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// A tuple was taken, with these access lists.
    Taken(Found, Option<Access>),
    /// Anything else that the machine says.
    Outcome(Outcome),
    /// Its deadline passed.
    Expired {
        effect: Effect,
        answered: Vec<ReplicaId>,
    },
    /// The client was closed.
    Closed(Effect),
}

/// An operation that the driver works on.
pub(crate) struct Call {
    handle: Handle,
    commands: mpsc::UnboundedSender<Command>,
    answer: oneshot::Receiver<Ended>,
    /// The space into which what was taken goes back.
    takes_from: Option<SpaceName>,
    ended: bool,
}

impl Call {
    /// Starts an operation.
    pub(crate) fn start(
        commands: &mpsc::UnboundedSender<Command>,
        handle: Handle,
        op: Op,
        deadline: Option<Duration>,
    ) -> Self {
        let takes_from = takes_from(&op);
        let (sender, answer) = oneshot::channel();
        let invocation = Invocation {
            handle,
            op,
            deadline,
            answer: sender,
        };
        if let Err(SendError(Command::Invoke(refused))) = commands.send(Command::Invoke(invocation))
        {
            // The receiver is right here.
            let _ = refused.answer.send(Ended::Closed(Effect::None));
        }
        Self {
            handle,
            commands: commands.clone(),
            answer,
            takes_from,
            ended: false,
        }
    }

    /// Waits for the end. Dropping the future before drops the operation.
    pub(crate) async fn ended(mut self) -> Ended {
        let ended = (&mut self.answer).await;
        self.ended = true;
        ended.unwrap_or(Ended::Closed(Effect::Possible))
    }
}

/// The space from which the operation takes for the caller to keep. A swap has done with the tuple
/// what it should.
pub(crate) fn takes_from(op: &Op) -> Option<SpaceName> {
    match op {
        Op::Take {
            space, with: None, ..
        } => Some(space.clone()),
        Op::Take { with: Some(_), .. }
        | Op::Out { .. }
        | Op::Read { .. }
        | Op::List { .. }
        | Op::Inspect
        | Op::End { .. } => None,
    }
}

/// What is written again if nobody gets what was taken.
pub(crate) fn put_back(found: Found, access: Option<Access>) -> Put {
    Put {
        tuple: found.tuple,
        expiry: None,
        access,
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // From here on the driver notices that nobody listens; what it sent before is here.
        self.answer.close();
        let command = match (self.answer.try_recv(), self.takes_from.take()) {
            (Ok(Ended::Taken(found, access)), Some(space)) => {
                Command::PutBack(space, put_back(found, access))
            }
            (Ok(_), _) => return,
            (Err(_), _) => Command::Cancel(self.handle),
        };
        // It fails only if the driver is gone.
        let _ = self.commands.send(command);
    }
}

#[cfg(test)]
mod tests {
    use bts_core::ids::{EntryId, PublicKey, Seq, Session};
    use bts_core::template::Template;
    use bts_core::tuple::Tuple;

    use super::*;

    fn take() -> Op {
        Op::Take {
            space: SpaceName::new("jobs").expect("a good name"),
            template: Template::default(),
            wait: true,
            with: None,
        }
    }

    fn found() -> Ended {
        let space = SpaceName::new("jobs").expect("a good name");
        let id = EntryId::written(space, PublicKey([1; 32]), Session(1), Seq(1));
        let tuple = Tuple(vec!["task".into()]);
        Ended::Taken(Found { id, tuple }, Some(access()))
    }

    fn access() -> Access {
        Access {
            read: None,
            take: Some(vec![PublicKey([1; 32])]),
        }
    }

    fn started(
        op: Op,
    ) -> (
        Call,
        oneshot::Sender<Ended>,
        mpsc::UnboundedReceiver<Command>,
    ) {
        let (commands, mut received) = mpsc::unbounded_channel();
        let call = Call::start(&commands, Handle(7), op, None);
        match received.try_recv() {
            Ok(Command::Invoke(invocation)) => (call, invocation.answer, received),
            _ => panic!("the first command invokes"),
        }
    }

    #[test]
    fn call_dropped_before_its_end_is_cancelled() {
        let (call, answer, mut commands) = started(take());
        drop(call);
        assert!(answer.send(found()).is_err(), "nobody listens");
        assert!(matches!(
            commands.try_recv(),
            Ok(Command::Cancel(Handle(7)))
        ));
    }

    #[test]
    fn call_dropped_after_a_tuple_was_sent_puts_it_back() {
        let (call, answer, mut commands) = started(take());
        assert!(answer.send(found()).is_ok());
        drop(call);
        match commands.try_recv() {
            Ok(Command::PutBack(space, put)) => {
                assert_eq!((space.as_str(), put.tuple.arity()), ("jobs", 1));
                assert_eq!(put.access, Some(access()), "for nobody else than before");
            }
            _ => panic!("the tuple must go back"),
        }
    }

    #[test]
    fn call_that_only_read_puts_nothing_back() {
        let read = Op::Read {
            space: SpaceName::new("jobs").expect("a good name"),
            template: Template::default(),
            wait: false,
        };
        let (call, answer, mut commands) = started(read);
        assert!(answer.send(found()).is_ok());
        drop(call);
        assert!(commands.try_recv().is_err());
    }
}
