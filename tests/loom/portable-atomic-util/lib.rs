//! What ringbuf takes from `portable-atomic-util`, of loom.

use std::ops::Deref;

/// loom's `Arc`, which lacks only `From<Box<T>>`.
pub struct Arc<T: ?Sized>(loom::sync::Arc<T>);

impl<T> Arc<T> {
    pub fn new(value: T) -> Self {
        Self(loom::sync::Arc::new(value))
    }
}

impl<T: ?Sized> From<Box<T>> for Arc<T> {
    fn from(value: Box<T>) -> Self {
        Self(loom::sync::Arc::from_std(value.into()))
    }
}

impl<T: ?Sized> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> AsRef<T> for Arc<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}
