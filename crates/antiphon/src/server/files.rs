//! The static root: files for GET and HEAD, and nothing that was not meant to be published.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use tower_http::services::fs::{Backend, ServeDir, TokioBackend, TokioFile};
use tower_service::Service;

use crate::error::{Error, ErrorKind, Result};

/// Serves the files below a folder: `index.html` for a folder, no listing, no file or folder whose name begins with a
/// dot, nothing that a symbolic link leads to outside.
#[derive(Clone, Debug)]
pub(crate) struct Files(ServeDir<NoFallback, Within>);

type NoFallback = tower_http::services::fs::DefaultServeDirFallback;

impl Files {
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let refuse = |source: io::Error| {
            let context = format!(
                "the static root {} cannot be used: {source}",
                root.display()
            );
            Error::new(ErrorKind::Config, context).with_source(source)
        };
        let root = root.canonicalize().map_err(refuse)?;
        if !root.is_dir() {
            return Err(refuse(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self(ServeDir::with_backend(root.clone(), Within { root })))
    }
}

impl Service<Request<Body>> for Files {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self(mut files) = self.clone();
        Box::pin(async move {
            let mut response =
                if request.method() != Method::GET && request.method() != Method::HEAD {
                    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
                    response
                        .headers_mut()
                        .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                    response
                } else if let Some(uri) = published(request.uri()) {
                    let (mut parts, _) = request.into_parts();
                    parts.uri = uri;
                    files
                        .call(Request::from_parts(parts, Body::empty()))
                        .await?
                        .map(Body::new)
                } else {
                    status(StatusCode::NOT_FOUND)
                };
            response.headers_mut().insert(
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            );
            Ok(response)
        })
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The request target as a bare path, if it may be asked for. A redirect repeats this path, so that neither an empty
/// first segment (`//elsewhere`) nor a host of the client's choice may stay in it.
fn published(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let inner = decoded.strip_prefix('/')?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let hidden = |segment: &str| {
        segment.is_empty() || segment.starts_with('.') || segment.contains(['\\', '\0', ':'])
    };
    if !inner.is_empty() && inner.split('/').any(hidden) || decoded == "//" {
        return None;
    }
    path.parse().ok()
}

/// The file system as seen from the root: links are followed first, and what they lead to must lie inside.
#[derive(Clone, Debug)]
struct Within {
    root: PathBuf,
}

impl Within {
    /// The real path, which holds no links any more. Runs where blocking is allowed.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let path = path.canonicalize()?;
        if !path.starts_with(&self.root) {
            return Err(io::ErrorKind::NotFound.into());
        }
        // A pipe would block whoever opens it, a device has no end.
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() || metadata.is_file() {
            Ok(path)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    async fn resolved(self, path: PathBuf) -> io::Result<PathBuf> {
        tokio::task::spawn_blocking(move || self.resolve(&path))
            .await
            .map_err(io::Error::other)?
    }
}

impl Backend for Within {
    type File = TokioFile;
    type Metadata = fs::Metadata;
    type OpenFuture = Pin<Box<dyn Future<Output = io::Result<TokioFile>> + Send>>;
    type MetadataFuture = Pin<Box<dyn Future<Output = io::Result<fs::Metadata>> + Send>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let within = self.clone();
        Box::pin(async move { TokioBackend.open(within.resolved(path).await?).await })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let within = self.clone();
        Box::pin(async move { TokioBackend.metadata(within.resolved(path).await?).await })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    struct Site(PathBuf);

    impl Site {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("antiphon-files-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            for (path, content) in [
                ("root/index.html", "<p>index"),
                ("root/app.js", "run()"),
                ("root/docs/index.html", "<p>docs"),
                ("root/empty/file.txt", "in empty"),
                ("root/.env", "SECRET"),
                ("root/.git/config", "SECRET"),
                ("outside/secret.txt", "SECRET"),
                ("rootless.txt", "SECRET"),
            ] {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("create");
                fs::write(path, content).expect("write");
            }
            Self(folder)
        }

        async fn ask(&self, method: Method, target: &str) -> (StatusCode, http::HeaderMap, String) {
            let mut files = Files::new(&self.0.join("root")).expect("a root");
            let request = Request::builder()
                .method(method)
                .uri(target)
                .body(Body::empty())
                .expect("a request");
            let response = files.call(request).await.expect("no error");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            (
                parts.status,
                parts.headers,
                String::from_utf8_lossy(&body).into_owned(),
            )
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn files_and_index_pages_are_served() {
        let site = Site::new("served");
        let rows = [
            ("/", 200, "<p>index"),
            ("/index.html", 200, "<p>index"),
            ("/app.js", 200, "run()"),
            ("/app.js?v=1", 200, "run()"),
            ("/%61pp.js", 200, "run()"),
            ("/docs/", 200, "<p>docs"),
            ("http://elsewhere.example/app.js", 200, "run()"),
            // No listing.
            ("/empty/", 404, ""),
            ("/missing", 404, ""),
            ("/app.js/", 404, ""),
        ];
        for (target, status, expected) in rows {
            let (got, headers, body) = site.ask(Method::GET, target).await;
            assert_eq!(
                (got.as_u16(), body.as_str()),
                (status, expected),
                "{target}"
            );
            assert_eq!(headers["x-content-type-options"], "nosniff", "{target}");
        }
        let (status, headers, _) = site.ask(Method::GET, "http://elsewhere.example/docs").await;
        assert_eq!(
            (status.as_u16(), headers["location"].as_bytes()),
            (307, &b"/docs/"[..])
        );
        let (status, headers, body) = site.ask(Method::HEAD, "/app.js").await;
        assert_eq!(
            (
                status.as_u16(),
                headers["content-length"].as_bytes(),
                body.as_str()
            ),
            (200, &b"5"[..], "")
        );
    }

    #[tokio::test]
    async fn nothing_hidden_or_outside_is_served() {
        let site = Site::new("hidden");
        let root = site.0.join("root");
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink(site.0.join("outside/secret.txt"), root.join("link.txt")).expect("link");
            symlink(site.0.join("outside"), root.join("folder")).expect("link");
            symlink("../outside/secret.txt", root.join("relative.txt")).expect("link");
            symlink(root.join("app.js"), root.join("inside.js")).expect("link");
            symlink(&site.0, root.join("docs/up")).expect("link");
            let (status, _, body) = site.ask(Method::GET, "/inside.js").await;
            assert_eq!(
                (status.as_u16(), body.as_str()),
                (200, "run()"),
                "a link that stays inside"
            );
        }
        let targets = [
            "/.env",
            "/%2eenv",
            "/%2Eenv",
            "/.git/config",
            "/.git/",
            "/docs/../.env",
            "/../outside/secret.txt",
            "/%2e%2e/outside/secret.txt",
            "/..%2foutside/secret.txt",
            "/..%5coutside%5csecret.txt",
            "/docs/..",
            "/docs/%2e%2e/%2e%2e/outside/secret.txt",
            "/link.txt",
            "/folder/secret.txt",
            "/folder/",
            "/relative.txt",
            "/docs/up/outside/secret.txt",
            "/../rootless.txt",
            "/%00",
            "/app.js%00.html",
            "/C:/secret.txt",
            "/%ff",
            "//docs",
            "//evil.example/..",
            "/docs//index.html",
            "//",
            "/%2f",
            "/%2fetc/passwd",
            "//etc/passwd",
        ];
        for target in targets {
            let uri = Uri::builder().path_and_query(target).build().expect(target);
            let (status, headers, body) = site.ask(Method::GET, &uri.to_string()).await;
            assert_eq!((status.as_u16(), body.as_str()), (404, ""), "{target}");
            assert!(!headers.contains_key("location"), "{target}");
        }
    }

    #[tokio::test]
    async fn only_get_and_head_are_allowed() {
        let site = Site::new("methods");
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            let (status, headers, body) = site.ask(method.clone(), "/app.js").await;
            assert_eq!((status.as_u16(), body.as_str()), (405, ""), "{method}");
            assert_eq!(headers["allow"], "GET, HEAD");
        }
    }

    #[test]
    fn a_root_that_is_no_folder_is_refused_by_name() {
        for root in ["/no/such/folder", "/dev/null"] {
            let error = Files::new(Path::new(root)).expect_err(root);
            assert!(error.to_string().contains(root), "{error}");
        }
    }
}
