//! Bodies that fit around any other: [`ResponseBody`], which every layer answers with, and [`GuardedBody`], which holds
//! something for as long as a body lives.

mod guarded;
mod request_error;
mod response;

pub use self::guarded::{BodyEnd, BodyGuard, GuardedBody};
pub use self::request_error::RequestBodyError;
pub use self::response::ResponseBody;
