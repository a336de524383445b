//! The stream of notices: one line of JSON for each event, until the reader leaves or the node
//! stops. A reader who is too slow is told how many notices it missed.

use crate::{request::Admin, views};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::stream::{self, Stream};
use portcullis_admin_api::v1::notice::{NoticeView, WhatView};
use portcullis_kernel::Notice;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

pub(crate) async fn watch(State(admin): State<Admin>) -> Response {
    let notices = lines(admin.clone(), admin.kernel.notices());
    let body = Body::from_stream(notices);
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn lines(
    admin: Admin,
    notices: Receiver<Notice>,
) -> impl Stream<Item = Result<Bytes, serde_json::Error>> {
    stream::unfold((admin, notices), |(admin, mut notices)| async move {
        let view = next(&admin, &mut notices, &admin.shutdown).await?;
        let line = serde_json::to_vec(&view).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((line, (admin, notices)))
    })
}

async fn next(
    admin: &Admin,
    notices: &mut Receiver<Notice>,
    shutdown: &CancellationToken,
) -> Option<NoticeView> {
    tokio::select! {
        () = shutdown.cancelled() => None,
        received = notices.recv() => match received {
            Ok(notice) => Some(views::notice(&notice)),
            Err(RecvError::Lagged(notices)) => Some(NoticeView {
                at: admin.kernel.now().to_string(),
                what: WhatView::Missed { notices },
            }),
            Err(RecvError::Closed) => None,
        },
    }
}
