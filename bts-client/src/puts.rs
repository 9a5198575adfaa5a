//! What a swap puts in place of the tuple it takes, and the function that decides it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bts_core::client::SwapWith;
use bts_core::content::{Access, Put};
use serde::Serialize;

use crate::error::Error;
use crate::template::Query;
use crate::tuple::{FromTupleError, ToTupleError, Tuple, to_tuple};

/// What can be put in place of a taken tuple: one tuple, or [`Puts`] for none or several.
pub trait IntoPuts {
    /// The tuples.
    fn into_tuples(self) -> Result<Vec<Tuple>, ToTupleError>;
}

impl<T: Serialize> IntoPuts for T {
    fn into_tuples(self) -> Result<Vec<Tuple>, ToTupleError> {
        Ok(vec![to_tuple(&self)?])
    }
}

/// Tuples of any types, all put in one step.
///
/// ```
/// use bts_client::Puts;
///
/// let puts = Puts::none().and(("done", 17u64)).and(("log", "job 17 is done", true));
/// ```
#[derive(Clone, Debug)]
pub struct Puts(Result<Vec<Tuple>, ToTupleError>);

impl Puts {
    /// Nothing is put: the tuple is just taken.
    pub fn none() -> Self {
        Self(Ok(Vec::new()))
    }

    /// This one as well.
    #[must_use]
    pub fn and<T: Serialize>(self, tuple: T) -> Self {
        Self(self.0.and_then(|mut tuples| {
            tuples.push(to_tuple(&tuple)?);
            Ok(tuples)
        }))
    }
}

impl IntoPuts for Puts {
    fn into_tuples(self) -> Result<Vec<Tuple>, ToTupleError> {
        self.0
    }
}

/// Why the function of a swap gave nothing that could be put. The swap declines then, so that
/// nothing is taken.
enum Failure {
    Unreadable(Tuple, FromTupleError),
    NotATuple(ToTupleError),
    Panicked(Box<dyn Any + Send>),
}

/// Where the driver's thread leaves a failure for the caller.
#[derive(Clone, Default)]
pub(crate) struct SwapFailure(Arc<Mutex<Option<Failure>>>);

impl SwapFailure {
    fn note(&self, failure: Failure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Fails, or panics, as the function did when it declined.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.taken() {
            None => Ok(()),
            Some(Failure::Unreadable(tuple, source)) => Err(Error::Unreadable { tuple, source }),
            Some(Failure::NotATuple(error)) => Err(error.into()),
            Some(Failure::Panicked(panic)) => resume_unwind(panic),
        }
    }

    /// Panics if the function did. The tuple that it could not use is of no interest if the swap
    /// did not end with it.
    pub(crate) fn check_panic(&self) {
        if let Some(Failure::Panicked(panic)) = self.taken() {
            resume_unwind(panic);
        }
    }

    fn taken(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The function as the state machine calls it, on the driver's thread, which it must not take along
/// if it panics.
pub(crate) fn swap_with<Q, P, F>(
    mut with: F,
    access: Option<Access>,
    failure: SwapFailure,
) -> SwapWith
where
    Q: Query,
    P: IntoPuts,
    F: FnMut(Q::Found) -> Option<P> + Send + 'static,
{
    let put = move |tuple| Put {
        tuple,
        expiry: None,
        access: access.clone(),
    };
    Box::new(move |taken: &Tuple| {
        let found = Q::read(taken.clone())
            .map_err(|error| failure.note(Failure::Unreadable(taken.clone(), error)))
            .ok()?;
        let tuples = catch_unwind(AssertUnwindSafe(|| with(found).map(IntoPuts::into_tuples)))
            .map_err(|panic| failure.note(Failure::Panicked(panic)))
            .ok()??;
        let tuples = tuples
            .map_err(|error| failure.note(Failure::NotATuple(error)))
            .ok()?;
        Some(tuples.into_iter().map(&put).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template;
    use crate::template::Template;

    fn with<Q: Query, P: IntoPuts>(
        _: Q,
        with: impl FnMut(Q::Found) -> Option<P> + Send + 'static,
    ) -> (Option<Vec<Put>>, SwapFailure) {
        let failure = SwapFailure::default();
        let taken = Tuple(vec!["task".into(), 17u64.into()]);
        let puts = swap_with::<Q, P, _>(with, None, failure.clone())(&taken);
        (puts, failure)
    }

    #[test]
    fn swap_puts_one_tuple_several_or_none() {
        let query = || template!["task", ?u64];
        let count = |(puts, failure): (Option<Vec<Put>>, SwapFailure)| {
            assert!(failure.check().is_ok());
            puts.map(|puts| puts.len())
        };
        assert_eq!(count(with(query(), |(_, n)| Some(("done", n)))), Some(1));
        assert_eq!(count(with(query(), |_| Some(Puts::none()))), Some(0));
        let two = |(name, n): (String, u64)| Some(Puts::none().and((name,)).and((n, n)));
        assert_eq!(count(with(query(), two)), Some(2));
        assert_eq!(count(with(query(), |_| None::<Puts>)), None);
        let untyped = Template::default();
        assert_eq!(count(with(untyped, Some::<Tuple>)), Some(1));
    }

    #[test]
    fn swap_that_cannot_put_declines_and_says_why() {
        let (puts, failure) = with(template!["task", ?u64].of::<(String, bool)>(), Some);
        assert!(puts.is_none());
        assert!(
            matches!(failure.check(), Err(Error::Unreadable { tuple, .. }) if tuple.arity() == 2)
        );
        let (puts, failure) = with(template!["task", ?u64], |_| Some((None::<u8>,)));
        assert!(puts.is_none());
        assert!(matches!(failure.check(), Err(Error::NotATuple(_))));
    }

    #[test]
    fn swap_function_panics_at_its_caller() {
        let boom = |_: (String, u64)| -> Option<Puts> { std::panic::panic_any("boom") };
        let (puts, failure) = with(template!["task", ?u64], boom);
        assert!(puts.is_none());
        let caught = catch_unwind(AssertUnwindSafe(|| failure.check()));
        let panic = caught.expect_err("the panic goes on");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"boom"));
    }
}
