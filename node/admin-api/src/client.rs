//! The command line's side of the admin socket: requests, answers, and the stream of notices.
//!
//! Each request has a connection of its own, and nothing is kept. A refusal comes back as
//! [`ClientError::Refused`], in the node's own words.

use std::{
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::ACT_HEADER;
use crate::v1::{ProblemView, notice::NoticeView};

/// Largest size of an answer that is read, in bytes.
const MOST_ANSWERED: usize = 256 << 20;

/// Largest size of one line of an answer, in bytes: a manifest with 10,000 files.
const LONGEST_LINE: usize = 4 << 20;

/// Time for which an act is sent again if its answer is lost. A node starts within it.
const LOST_ANSWER: Duration = Duration::from_secs(30);

/// Pause before an act is sent again.
const SEND_AGAIN: Duration = Duration::from_millis(500);

/// Error of a request to the node.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket.
    #[error("no node answers at `{}`", .0.display())]
    NotThere(PathBuf),
    /// The socket may not be used by this user.
    #[error("`{}` may not be used by this user", .0.display())]
    NotAllowed(PathBuf),
    /// The connection failed.
    #[error("the connection to the node failed: {0}")]
    Connection(#[source] io::Error),
    /// The connection broke, or the data that came is not HTTP.
    #[error("the node broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// The answer is not of the expected form.
    #[error("the node's answer cannot be read: {0}")]
    Unreadable(String),
    /// The node refused or failed.
    #[error("{}", .1.message)]
    Refused(StatusCode, Box<ProblemView>),
}

impl ClientError {
    /// Returns true if the node may have done what it was asked, though no answer came.
    #[must_use]
    pub const fn is_unanswered(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Connection(_) => true,
            Self::NotThere(_) | Self::NotAllowed(_) | Self::Unreadable(_) | Self::Refused(..) => {
                false
            }
        }
    }
}

/// Reason for which an act has no end, though its answer comes line by line.
#[derive(Debug, thiserror::Error)]
pub enum CutShort {
    /// The node refused it or was not there: it was not carried out.
    #[error(transparent)]
    NotBegun(ClientError),
    /// The answer was cut short, and did not come when the act was sent again; it may have been
    /// carried out. The cause is there unless the answer just stopped.
    #[error("the node's answer was cut short")]
    Unanswered(#[source] Option<ClientError>),
}

/// Client of one node.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Returns a client of the node with this socket. The first request shows whether the node
    /// runs.
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request without a body and returns the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(request("GET", path, None, Bytes::new())?).await
    }

    /// Sends a request with a JSON body and returns the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| unreadable(&error))?;
        self.answer(request("POST", path, None, body.into())?).await
    }

    /// Sends a signed act: `statement` as text, and the body that it names by its digest.
    ///
    /// # Errors
    ///
    /// [`ClientError`]. If it [is unanswered](ClientError::is_unanswered), the act may have been
    /// carried out.
    pub async fn act<T: DeserializeOwned>(
        &self,
        statement: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        self.answer(request("POST", "/v1/acts", Some(statement), body)?)
            .await
    }

    /// Sends a signed act, and the same act again if its answer is lost, for half a minute: a node
    /// answers what it did as it did the first time, and takes up what it had not done.
    ///
    /// # Errors
    ///
    /// As for [`Client::act`].
    pub async fn act_until_answered<T: DeserializeOwned>(
        &self,
        statement: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let began = Instant::now();
        let mut lost = None;
        loop {
            match self.act(statement, body.clone()).await {
                Err(error) if error.is_unanswered() => lost = Some(error),
                // The node is on its way back.
                Err(ClientError::NotThere(_)) if lost.is_some() => {}
                answer => return answer,
            }
            if began.elapsed() >= LOST_ANSWER {
                return Err(lost.unwrap_or_else(|| ClientError::NotThere(self.socket.clone())));
            }
            tokio::time::sleep(SEND_AGAIN).await;
        }
    }

    /// Opens the stream of notices.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the stream does not begin.
    pub async fn watch(&self) -> Result<Lines<NoticeView>, ClientError> {
        let request = request("GET", "/v1/watch", None, Bytes::new())?;
        Ok(Lines::of(self.send(request).await?))
    }

    /// Sends a signed act whose answer comes line by line.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the answer does not begin.
    pub async fn act_lines<T: DeserializeOwned>(
        &self,
        statement: &str,
        body: Bytes,
    ) -> Result<Lines<T>, ClientError> {
        let request = request("POST", "/v1/acts", Some(statement), body)?;
        Ok(Lines::of(self.send(request).await?))
    }

    /// Sends a signed act whose answer comes line by line, and the same act again if its answer is cut
    /// short before its last line, until half a minute after the first cut. `step` is given every line,
    /// and returns the end if it is the last one.
    ///
    /// # Errors
    ///
    /// [`CutShort`] tells whether the act may have been carried out.
    pub async fn act_lines_until_ended<T: DeserializeOwned, E>(
        &self,
        statement: &str,
        body: Bytes,
        mut step: impl FnMut(T) -> Option<E>,
    ) -> Result<E, CutShort> {
        let mut cut = None;
        loop {
            let ended = self.lines_to_the_end(statement, body.clone(), &mut step);
            let error = match ended.await {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => None,
                Err(error) if error.is_unanswered() => Some(error),
                // The node is on its way back.
                Err(ClientError::NotThere(path)) if cut.is_some() => {
                    Some(ClientError::NotThere(path))
                }
                Err(error) if cut.is_some() => return Err(CutShort::Unanswered(Some(error))),
                Err(error) => return Err(CutShort::NotBegun(error)),
            };
            if cut.get_or_insert_with(Instant::now).elapsed() >= LOST_ANSWER {
                return Err(CutShort::Unanswered(error));
            }
            tokio::time::sleep(SEND_AGAIN).await;
        }
    }

    /// Reads an answer line by line; `None` if it is cut short.
    async fn lines_to_the_end<T: DeserializeOwned, E>(
        &self,
        statement: &str,
        body: Bytes,
        step: &mut impl FnMut(T) -> Option<E>,
    ) -> Result<Option<E>, ClientError> {
        let mut lines = self.act_lines(statement, body).await?;
        while let Some(line) = lines.next().await? {
            if let Some(end) = step(line) {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<T, ClientError> {
        let body = collected(self.send(request).await?.into_body(), MOST_ANSWERED).await?;
        serde_json::from_slice(&body).map_err(|error| unreadable(&error))
    }

    /// Sends a request and returns the response if its status is a success.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unconnected(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the node ended");
            }
        });
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = collected(response.into_body(), MOST_ANSWERED).await?;
        Err(ClientError::Refused(
            status,
            Box::new(problem(status, &body)),
        ))
    }

    fn unconnected(&self, error: io::Error) -> ClientError {
        let kind = error.kind();
        if matches!(
            kind,
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        ) {
            ClientError::NotThere(self.socket.clone())
        } else if kind == io::ErrorKind::PermissionDenied {
            ClientError::NotAllowed(self.socket.clone())
        } else {
            ClientError::Connection(error)
        }
    }
}

fn unreadable(error: &serde_json::Error) -> ClientError {
    ClientError::Unreadable(error.to_string())
}

fn request(
    method: &str,
    path: &str,
    statement: Option<&str>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ClientError> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "node")
        .header(CONTENT_TYPE, "application/json");
    if let Some(statement) = statement {
        builder = builder.header(ACT_HEADER, statement);
    }
    builder
        .body(Full::new(body))
        .map_err(|error| ClientError::Unreadable(error.to_string()))
}

/// Reads a whole answer of at most so many bytes, however it is cut into pieces.
async fn collected<B>(body: B, most: usize) -> Result<Bytes, ClientError>
where
    B: Body<Data = Bytes, Error = hyper::Error>,
{
    match Limited::new(body, most).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(broken) => ClientError::Broken(*broken),
            Err(_) => ClientError::Unreadable("it is too large".to_owned()),
        }),
    }
}

/// Returns the problem in the node's answer. For a body that is no problem, only the status is
/// told.
fn problem(status: StatusCode, body: &[u8]) -> ProblemView {
    serde_json::from_slice(body).unwrap_or_else(|_| ProblemView {
        message: format!("the node answered {status}"),
        rule: None,
        r#do: None,
        causes: Vec::new(),
    })
}

/// An answer that comes line by line, each a JSON value.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    rest: Vec<u8>,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    fn of(response: Response<Incoming>) -> Self {
        Self {
            body: response.into_body(),
            rest: Vec::new(),
            of: PhantomData,
        }
    }

    /// Returns the next line; `None` if the answer has ended, or the node has stopped.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the connection broke or a line cannot be read.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = serde_json::from_slice(&line).map_err(|error| unreadable(&error))?;
                return Ok(Some(line));
            }
            if self.rest.len() > LONGEST_LINE {
                return Err(ClientError::Unreadable("a line is too long".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// Returns a path component or query value with everything but unreserved characters (RFC 3986
/// §2.3) percent-encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_path_is_encoded() {
        assert_eq!(
            encoded("a/b?c=d&e f%\u{e9}"),
            "a%2Fb%3Fc%3Dd%26e%20f%25%C3%A9"
        );
        assert_eq!(encoded("A-z0.9_~"), "A-z0.9_~");
    }

    /// House L7: the bound held only for an answer that said how long it was.
    #[tokio::test]
    async fn an_answer_in_pieces_is_bounded_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let lying = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(b"4\r\nmore\r\n").await.is_ok() {}
        });
        let client = Client::new(socket);
        let request = request("GET", "/v1/status", None, Bytes::new()).unwrap();
        let answer = client.send(request).await.unwrap();
        let error = collected(answer.into_body(), 1 << 16).await.unwrap_err();
        assert!(matches!(error, ClientError::Unreadable(_)), "{error}");
        lying.await.unwrap();
    }

    /// Attack HH5: a lost answer was reported as a failure, and the person signed a second act.
    #[tokio::test]
    async fn the_same_act_is_sent_again_when_its_answer_is_lost() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let node = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"{}") {
                    stream.read_buf(&mut bytes).await.unwrap();
                }
                asked.push(bytes);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        let client = Client::new(socket);
        let body = Bytes::from_static(b"{}");
        let answer: u32 = client.act_until_answered("signed", body).await.unwrap();
        let asked = node.await.unwrap();
        assert_eq!((answer, &asked[0]), (7, &asked[1]));
    }

    /// A node's answers, each to one connection; an act is asked for by its body `{}`.
    fn answering(
        socket: &Path,
        answers: &'static [&'static str],
    ) -> tokio::task::JoinHandle<Vec<Vec<u8>>> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"{}") {
                    stream.read_buf(&mut bytes).await.unwrap();
                }
                asked.push(bytes);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        })
    }

    /// HP-202: the node was killed between the backup and its last line, and the act was given up.
    #[tokio::test]
    async fn an_act_whose_lines_are_cut_short_is_sent_again_until_its_last_line_comes() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n1\n2\n";
        const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n7\n";
        // Without a last line, without a whole head, and without any.
        let answers = &[HEAD, "HTTP/1.1 200", "", WHOLE];
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let node = answering(&socket, answers);
        let mut steps = Vec::new();
        let step = |line: u32| {
            steps.push(line);
            (line == 7).then_some("the end")
        };
        let body = Bytes::from_static(b"{}");
        let client = Client::new(socket);
        let ended = client.act_lines_until_ended("signed", body, step);
        assert_eq!(ended.await.unwrap(), "the end");
        let asked = node.await.unwrap();
        assert!(asked.iter().all(|one| *one == asked[0]) && asked.len() == 4);
        assert_eq!(steps, [1, 2, 7]);
    }

    #[tokio::test]
    async fn an_act_that_is_refused_is_told_from_one_that_may_have_been_carried_out() {
        const REFUSED: &str =
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 15\r\n\r\n{\"message\":\"x\"}";
        let ended = async |answers| {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("admin.sock");
            let node = answering(&socket, answers);
            let client = Client::new(socket);
            let body = Bytes::from_static(b"{}");
            let step = |line: u32| Some(line);
            let ended = client.act_lines_until_ended("signed", body, step).await;
            node.await.unwrap();
            ended.unwrap_err()
        };
        let refused = ended(&[REFUSED]).await;
        assert!(matches!(
            refused,
            CutShort::NotBegun(ClientError::Refused(..))
        ));
        // It was too old when it was sent again: what it did before is not known.
        let late = ended(&["", REFUSED]).await;
        assert!(matches!(
            late,
            CutShort::Unanswered(Some(ClientError::Refused(..)))
        ));
        let nobody = Client::new(PathBuf::from("/nowhere/admin.sock"));
        let step = |line: u32| Some(line);
        let absent = nobody.act_lines_until_ended("signed", Bytes::new(), step);
        assert!(matches!(
            absent.await,
            Err(CutShort::NotBegun(ClientError::NotThere(_)))
        ));
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(folder.path().join("admin.sock"));
        let error = client.get::<ProblemView>("/v1/status").await.unwrap_err();
        assert!(matches!(error, ClientError::NotThere(_)), "{error}");
    }
}
