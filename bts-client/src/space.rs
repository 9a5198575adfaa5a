//! The operations on one tuple space.

use std::sync::Arc;
use std::time::Duration;

use bts_core::client::{Op, Outcome};
use bts_core::content::{Access, Put};
use bts_core::ids::{EntryId, SpaceName};
use bts_core::message::Found;
use serde::Serialize;

use crate::call::Ended;
use crate::client::Shared;
use crate::error::Error;
use crate::puts::{IntoPuts, SwapFailure, swap_with};
use crate::template::Query;
use crate::tuple::{Tuple, to_tuple};

/// A tuple space, as one user of it sees it. Cheap to clone; all operations may be used
/// concurrently from many tasks.
///
/// | here | Linda | does |
/// |---|---|---|
/// | [`out`](Self::out) | `out` | writes a tuple |
/// | [`rdp`](Self::rdp) | `rdp` | reads a matching tuple, if there is one |
/// | [`rd`](Self::rd) | `rd` | reads a matching tuple, waiting for one |
/// | [`inp`](Self::inp) | `inp` | takes a matching tuple, if there is one |
/// | [`take`](Self::take) | `in` | takes a matching tuple, waiting for one |
/// | [`swapp`](Self::swapp) | | takes a matching tuple and puts others in its place, if there is one |
/// | [`swap`](Self::swap) | | the same, waiting for one |
/// | [`rd_all`](Self::rd_all) | | reads all matching tuples |
///
/// `in` is a keyword of Rust, and `r#in` no name to read. `take` says what it does, and is what the
/// protocol calls the message that does it. The probes keep Linda's names.
///
/// Every operation has a deadline, that of the settings unless [`with_deadline`] or
/// [`without_deadline`] say otherwise, and ends with [`Error::NoQuorum`] or [`Error::Timeout`] when
/// it passes. None needs all replicas: `f` may be silent or lie.
///
/// **Dropping a future** cancels its operation. An `out` may have taken effect all the same. A take
/// that already competes for a tuple is finished in the background, and a tuple won by it is put
/// back; so it is if the tuple arrived and nobody picked it up. A swap may take effect, entirely or
/// not at all.
///
/// [`with_deadline`]: Self::with_deadline
/// [`without_deadline`]: Self::without_deadline
#[derive(Clone, Debug)]
pub struct Space {
    shared: Arc<Shared>,
    name: SpaceName,
    deadline: Option<Duration>,
    access: Option<Access>,
}

/// How a swap ended that found a tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Swapped<T> {
    /// This was taken, and the others put in its place.
    Taken(T),
    /// The function declined this one; nothing was changed.
    Declined(T),
}

impl<T> Swapped<T> {
    /// What was taken, if the function did not decline.
    pub fn taken(self) -> Option<T> {
        match self {
            Self::Taken(taken) => Some(taken),
            Self::Declined(_) => None,
        }
    }
}

impl Space {
    pub(crate) fn new(shared: Arc<Shared>, name: SpaceName, deadline: Option<Duration>) -> Self {
        Self {
            shared,
            name,
            deadline,
            access: None,
        }
    }

    /// The same space, with this deadline for each operation.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self {
            deadline: Some(deadline),
            ..self.clone()
        }
    }

    /// The same space, without deadline: operations wait for as long as it takes.
    #[must_use]
    pub fn without_deadline(&self) -> Self {
        Self {
            deadline: None,
            ..self.clone()
        }
    }

    /// The same space; what is written through this handle may be read and taken by these keys only
    /// (besides what the policy of the space says).
    #[must_use]
    pub fn with_access(&self, access: Access) -> Self {
        Self {
            access: Some(access),
            ..self.clone()
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Writes a tuple. Once this returns, every reader finds it until somebody takes it.
    ///
    /// ```no_run
    /// # async fn f(jobs: bts_client::Space) -> Result<(), bts_client::Error> {
    /// jobs.out(("task", 17u64, b"payload")).await?;
    /// # Ok(()) }
    /// ```
    pub async fn out<T: Serialize>(&self, tuple: T) -> Result<EntryId, Error> {
        let put = Put {
            tuple: to_tuple(&tuple)?,
            expiry: None,
            access: self.access.clone(),
        };
        let space = self.name.clone();
        match self.run(Op::Out { space, put }).await {
            Ended::Outcome(Outcome::Written(id)) => Ok(id),
            ended => Err(self.error(ended)),
        }
    }

    /// Reads a matching tuple, if there is one. `None` means that at one instant during this
    /// operation nothing matched.
    ///
    /// ```no_run
    /// # async fn f(jobs: bts_client::Space) -> Result<(), bts_client::Error> {
    /// use bts_client::template;
    ///
    /// if let Some((_, number, payload)) = jobs.rdp(template!["task", ?u64, ?Vec<u8>]).await? {
    ///     println!("task {number} has {} bytes", payload.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn rdp<Q: Query>(&self, query: Q) -> Result<Option<Q::Found>, Error> {
        self.found_or_none::<Q>(self.read(&query, false)).await
    }

    /// Reads a matching tuple, waiting for one.
    pub async fn rd<Q: Query>(&self, query: Q) -> Result<Q::Found, Error> {
        self.found::<Q>(self.read(&query, true)).await
    }

    /// Takes a matching tuple, if there is one: nobody else gets it. `None` as for
    /// [`rdp`](Self::rdp).
    pub async fn inp<Q: Query>(&self, query: Q) -> Result<Option<Q::Found>, Error> {
        self.found_or_none::<Q>(self.take_op(&query, false)).await
    }

    /// Takes a matching tuple, waiting for one: Linda's `in`.
    ///
    /// ```no_run
    /// # async fn f(jobs: bts_client::Space) -> Result<(), bts_client::Error> {
    /// use bts_client::template;
    ///
    /// let (_, number, payload) = jobs.take(template!["task", ?u64, ?Vec<u8>]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn take<Q: Query>(&self, query: Q) -> Result<Q::Found, Error> {
        self.found::<Q>(self.take_op(&query, true)).await
    }

    /// Takes a matching tuple and puts others in its place, in one step that nobody can see half
    /// of, waiting for a match. So no tuple is lost if its taker crashes: a worker swaps a task for
    /// "done by me", and that for its result.
    ///
    /// The function may be called several times, with other tuples, as others take what it was
    /// shown. It runs on the client's own thread: it should compute, not wait. `None` declines; a
    /// panic in it goes on at the caller.
    ///
    /// ```no_run
    /// # async fn f(jobs: bts_client::Space, me: u64) -> Result<(), bts_client::Error> {
    /// use bts_client::template;
    ///
    /// let task = jobs
    ///     .swap(template!["task", ?u64], move |(_, number)| Some(("doing", number, me)))
    ///     .await?
    ///     .taken();
    /// # Ok(()) }
    /// ```
    pub async fn swap<Q, P, F>(&self, query: Q, with: F) -> Result<Swapped<Q::Found>, Error>
    where
        Q: Query,
        P: IntoPuts,
        F: FnMut(Q::Found) -> Option<P> + Send + 'static,
    {
        match self.swap_op(&query, true, with).await? {
            Ok(swapped) => Ok(swapped),
            Err(ended) => Err(self.error(ended)),
        }
    }

    /// As [`swap`](Self::swap), if something matches. `None` as for [`rdp`](Self::rdp).
    pub async fn swapp<Q, P, F>(
        &self,
        query: Q,
        with: F,
    ) -> Result<Option<Swapped<Q::Found>>, Error>
    where
        Q: Query,
        P: IntoPuts,
        F: FnMut(Q::Found) -> Option<P> + Send + 'static,
    {
        match self.swap_op(&query, false, with).await? {
            Ok(swapped) => Ok(Some(swapped)),
            Err(Ended::Outcome(Outcome::None)) => Ok(None),
            Err(ended) => Err(self.error(ended)),
        }
    }

    /// Reads all matching tuples, in no order: each that was there throughout, and some of those
    /// that came or went meanwhile. Not a snapshot.
    pub async fn rd_all<Q: Query>(&self, query: Q) -> Result<Vec<Q::Found>, Error> {
        let (space, template) = (self.name.clone(), query.template());
        match self.run(Op::List { space, template }).await {
            Ended::Outcome(Outcome::Listed(found)) => found.into_iter().map(read::<Q>).collect(),
            ended => Err(self.error(ended)),
        }
    }

    fn read<Q: Query>(&self, query: &Q, wait: bool) -> Op {
        Op::Read {
            space: self.name.clone(),
            template: query.template(),
            wait,
        }
    }

    fn take_op<Q: Query>(&self, query: &Q, wait: bool) -> Op {
        Op::Take {
            space: self.name.clone(),
            template: query.template(),
            wait,
            with: None,
        }
    }

    async fn found<Q: Query>(&self, op: Op) -> Result<Q::Found, Error> {
        match self.run(op).await {
            Ended::Outcome(Outcome::Found(found)) | Ended::Taken(found, _) => read::<Q>(found),
            ended => Err(self.error(ended)),
        }
    }

    async fn found_or_none<Q: Query>(&self, op: Op) -> Result<Option<Q::Found>, Error> {
        match self.run(op).await {
            Ended::Outcome(Outcome::Found(found)) | Ended::Taken(found, _) => {
                read::<Q>(found).map(Some)
            }
            Ended::Outcome(Outcome::None) => Ok(None),
            ended => Err(self.error(ended)),
        }
    }

    /// The inner error is an end without a tuple.
    async fn swap_op<Q, P, F>(
        &self,
        query: &Q,
        wait: bool,
        with: F,
    ) -> Result<Result<Swapped<Q::Found>, Ended>, Error>
    where
        Q: Query,
        P: IntoPuts,
        F: FnMut(Q::Found) -> Option<P> + Send + 'static,
    {
        let failure = SwapFailure::default();
        let with = swap_with::<Q, P, F>(with, self.access.clone(), failure.clone());
        let op = Op::Take {
            space: self.name.clone(),
            template: query.template(),
            wait,
            with: Some(with),
        };
        let ended = self.run(op).await;
        match &ended {
            Ended::Outcome(Outcome::Declined(_)) => failure.check()?,
            _ => failure.check_panic(),
        }
        match ended {
            Ended::Outcome(Outcome::Swapped { taken, .. }) => {
                Ok(Ok(Swapped::Taken(read::<Q>(taken)?)))
            }
            Ended::Outcome(Outcome::Declined(found)) => {
                Ok(Ok(Swapped::Declined(read::<Q>(found)?)))
            }
            ended => Ok(Err(ended)),
        }
    }

    async fn run(&self, op: Op) -> Ended {
        self.shared.call(op, self.deadline).ended().await
    }

    fn error(&self, ended: Ended) -> Error {
        self.shared.error_of(ended, self.deadline)
    }
}

fn read<Q: Query>(found: Found) -> Result<Q::Found, Error> {
    let tuple: Tuple = found.tuple;
    Q::read(tuple.clone()).map_err(|source| Error::Unreadable { tuple, source })
}
