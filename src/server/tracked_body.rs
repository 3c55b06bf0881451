//! A request's body that tells when it has been received to its end, and a response's body that tells when it has been sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::connections::Progress;

/// The body of a request.
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

/// The body of a response. Until it is sent to its end, or given up, its request is being handled: a stream of events is not the
/// connection that has gone longest without a request.
pub(super) struct ResponseBody<B> {
    body: B,
    progress: Arc<Progress>,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(body: B, progress: Arc<Progress>) -> Self {
        Self { body, progress }
    }
}

impl<B: Body + Unpin> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        self.progress.request_answered();
    }
}
