//! The operations of a client behind one face: each takes replies and time, and ends with an
//! outcome.

use super::end::End;
use super::inspect::Inspect;
use super::list::List;
use super::out::Out;
use super::pace::Wake;
use super::read::Read;
use super::step::Step;
use super::take::Take;
use super::{Op, Outcome};
use crate::content::IllFormed;
use crate::crypto::sign::SignedBytes;
use crate::ids::{ReplicaId, RequestId};
use crate::message::ReplyBody;

/// An operation under way.
#[derive(Debug)]
pub(super) enum Operation {
    Out(Out),
    Read(Box<Read>),
    Take(Box<Take>),
    List(Box<List>),
    Inspect(Inspect),
    End(End),
}

/// What becomes of an operation that is cancelled.
#[derive(Debug)]
pub(super) enum Cancelled {
    /// It ends.
    Ended(Outcome),
    /// It goes on in the background.
    Detached(Outcome),
}

impl Operation {
    /// Begins an operation, or says why it is malformed before anything is sent.
    pub(super) fn begin(step: &mut Step<'_>, op: Op) -> Result<Self, IllFormed> {
        if let Op::Read { template, .. } | Op::Take { template, .. } | Op::List { template, .. } =
            &op
        {
            template.check()?;
        }
        Ok(match op {
            Op::Out { space, put } => Self::Out(Out::begin(step, space, put)?),
            Op::Read {
                space,
                template,
                wait,
            } => Self::Read(Box::new(Read::begin(step, space, template, wait))),
            Op::Take {
                space,
                template,
                wait,
                with,
            } => Self::Take(Box::new(Take::begin(step, space, template, wait, with))),
            Op::List { space, template } => {
                Self::List(Box::new(List::begin(step, space, template)))
            }
            Op::Inspect => Self::Inspect(Inspect::begin(step)),
            Op::End { own } => Self::End(End::begin(step, own)),
        })
    }

    /// What it had signed is.
    pub(super) fn on_signed(&mut self, step: &mut Step<'_>, signed: SignedBytes) {
        match self {
            Self::Out(out) => out.on_signed(step, signed),
            Self::Take(take) => take.on_signed(step, signed),
            Self::End(end) => end.on_signed(step, signed),
            Self::Read(_) | Self::List(_) | Self::Inspect(_) => {}
        }
    }

    /// Takes a reply in.
    pub(super) fn on_reply(
        &mut self,
        step: &mut Step<'_>,
        from: ReplicaId,
        request: RequestId,
        body: ReplyBody,
    ) -> Option<Outcome> {
        match self {
            Self::Out(out) => out.on_reply(step, from, body),
            Self::Read(read) => {
                read.on_reply(step, from, request, body);
                None
            }
            Self::Take(take) => take.on_reply(step, from, request, body),
            Self::List(list) => list.on_reply(step, from, request, body),
            Self::Inspect(inspect) => inspect.on_reply(step, from, body),
            Self::End(end) => end.on_reply(step, from, request, body),
        }
    }

    /// Does what is due, by what came in or by the time.
    pub(super) fn advance(&mut self, step: &mut Step<'_>, wake: &mut Wake) -> Option<Outcome> {
        match self {
            Self::Out(_) | Self::Inspect(_) => None,
            Self::Read(read) => read.advance(step, wake),
            Self::Take(take) => take.advance(step, wake),
            Self::List(list) => list.advance(step, wake),
            Self::End(end) => end.advance(step),
        }
    }

    /// Nobody wants the result any more.
    pub(super) fn cancel(&mut self, step: &mut Step<'_>) -> Cancelled {
        match self {
            Self::Out(_) => Cancelled::Ended(Outcome::Unknown),
            Self::Read(read) => {
                read.cancel(step);
                Cancelled::Ended(Outcome::Cancelled)
            }
            Self::Take(take) => match take.cancel(step) {
                true => Cancelled::Detached(Outcome::Unknown),
                false => Cancelled::Ended(Outcome::Cancelled),
            },
            Self::List(_) => Cancelled::Ended(Outcome::Cancelled),
            Self::Inspect(inspect) => Cancelled::Ended(inspect.collected()),
            Self::End(_) => Cancelled::Ended(Outcome::Unknown),
        }
    }
}
