//! What a unit of work has written, so that it can be written again onto a newer state.

use std::sync::Arc;

use crate::store::{StoreError, StoreErrorKind, StoreResult};

type Write<S> = Box<dyn Fn(&mut S) -> StoreResult<()> + Send>;

/// A state as one unit sees it: a snapshot, with the unit's writes applied.
pub(super) struct Journal<S> {
    base: Arc<S>,
    view: S,
    writes: Vec<Write<S>>,
    spent: bool,
}

impl<S: Clone> Journal<S> {
    pub(super) fn new(base: Arc<S>) -> Self {
        Self {
            view: S::clone(&base),
            base,
            writes: Vec::new(),
            spent: false,
        }
    }

    /// The snapshot, without the unit's writes.
    pub(super) fn base(&self) -> &S {
        &self.base
    }

    /// How many writes there are.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The view, unless the unit has failed.
    pub(super) fn read(&self, operation: &'static str) -> StoreResult<&S> {
        if self.spent {
            return Err(StoreError::new(StoreErrorKind::Spent, operation));
        }
        Ok(&self.view)
    }

    /// Applies `write` to the view now, and to the newest state at commit.
    ///
    /// Where the second answer differs from the first, the unit has decided on something that is
    /// no longer so, and the commit is a conflict.
    pub(super) fn write<T>(
        &mut self,
        operation: &'static str,
        write: impl Fn(&mut S) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T>
    where
        T: PartialEq + Clone + Send + 'static,
    {
        self.read(operation)?;
        let result = write(&mut self.view);
        let answer = self.check(result)?;
        let expected = answer.clone();
        self.writes.push(Box::new(move |state| {
            if write(state)? == expected {
                Ok(())
            } else {
                Err(StoreError::new(StoreErrorKind::Conflict, operation))
            }
        }));
        Ok(answer)
    }

    /// Passes a result on; after an error the unit is spent.
    pub(super) fn check<T>(&mut self, result: StoreResult<T>) -> StoreResult<T> {
        self.spent |= result.is_err();
        result
    }

    /// What the unit makes of the newest state: its own view, if nobody else has committed since
    /// the snapshot.
    pub(super) fn onto(self, newest: &Arc<S>) -> StoreResult<S> {
        if Arc::ptr_eq(newest, &self.base) {
            return Ok(self.view);
        }
        let mut state = S::clone(newest);
        for write in &self.writes {
            write(&mut state)?;
        }
        Ok(state)
    }
}
