//! Properties that hold for any input, each a function of bytes that panics when it does not hold. The property tests and the
//! fuzz targets call the same functions.

pub mod merge;
pub mod message;
pub mod signature;
pub mod webhook;
