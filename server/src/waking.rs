//! Wake-ups that are gathered: whoever hands out much at once lets those who wait see all of it rather than each piece, so
//! that they write once.
//!
//! Invariant: everybody is woken when the handing out ends, on every way out of it. It must not know who waits.

use std::{cell::RefCell, task::Waker};

thread_local! {
    static GATHERED: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Wakes at the end those who are woken by `work` on this thread. `work` must not wait for any of them.
pub(crate) fn together<T>(work: impl FnOnce() -> T) -> T {
    let begun = GATHERED.with_borrow_mut(|gathered| match gathered {
        Some(_) => None,
        none => {
            *none = Some(Vec::new());
            Some(Gathering)
        }
    });
    let done = work();
    drop(begun);
    done
}

/// Wakes somebody, now or when the handing out ends.
pub(crate) fn wake(waker: Waker) {
    let now = GATHERED.with_borrow_mut(|gathered| match gathered {
        Some(gathered) => {
            gathered.push(waker);
            None
        }
        None => Some(waker),
    });
    if let Some(waker) = now {
        waker.wake();
    }
}

struct Gathering;

impl Drop for Gathering {
    fn drop(&mut self) {
        for waker in GATHERED.take().into_iter().flatten() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        task::Wake,
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn everybody_is_woken_at_the_end_also_of_what_fails() {
        let count = Arc::<Count>::default();
        let waker = || Waker::from(Arc::clone(&count));
        together(|| {
            together(|| wake(waker()));
            wake(waker());
            assert_eq!(count.0.load(SeqCst), 0);
        });
        assert_eq!(count.0.load(SeqCst), 2);
        wake(waker());
        assert_eq!(count.0.load(SeqCst), 3);
        let failed = std::panic::catch_unwind(|| {
            together(|| {
                wake(waker());
                panic!("as a test wants it")
            })
        });
        assert!(failed.is_err());
        wake(waker());
        assert_eq!(count.0.load(SeqCst), 5);
    }
}
