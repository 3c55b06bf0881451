//! A request's body that tells when it has been received to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::connections::Progress;

/// See the module.
pub struct TrackedBody {
    body: Incoming,
    progress: Arc<Progress>,
}

impl TrackedBody {
    pub(super) fn new(body: Incoming, progress: Arc<Progress>) -> Self {
        let body = Self { body, progress };
        body.check_end();
        body
    }

    fn check_end(&self) {
        if self.body.is_end_stream() {
            self.progress.request_received();
        }
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(None) => self.progress.request_received(),
            Poll::Ready(Some(_)) => self.check_end(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
