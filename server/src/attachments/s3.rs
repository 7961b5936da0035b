//! Attachments in an S3 store: the client that speaks to it, and how it is set up.
//!
//! Invariants: a request ends, one way or another, within [`PATIENCE`]; no answer takes more memory than [`LONGEST`]; plain HTTP is
//! spoken only where the endpoint says so. It must not know what the objects are.

use super::place::{Keys, S3};
use async_trait::async_trait;
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as Tcp},
    rt::TokioExecutor,
};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::AmazonS3Builder,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
    path::Path,
    prefix::PrefixStore,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::{sync::Arc, time::Duration};

/// One request, and the answer to it.
const PATIENCE: Duration = Duration::from_secs(30);
/// All tries of a request together: as long as somebody who sends a file is kept waiting for a chunk.
const TRYING: Duration = Duration::from_secs(60);
const TRIES: usize = 4;
/// The longest answer: a page of a list, or a chunk.
const LONGEST: usize = 8 << 20;

/// The store, not asked anything yet.
pub(super) fn open(s3: &S3, keys: &Keys) -> Result<Arc<dyn ObjectStore>, String> {
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: TRIES, retry_timeout: TRYING };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_access_key_id(keys.id.as_str())
        .with_secret_access_key(keys.secret.as_str())
        .with_retry(retry)
        .with_http_connector(Connector::new(s3)?);
    if let Some(endpoint) = &s3.endpoint {
        // Stores of one's own seldom have a name for each bucket.
        builder = builder
            .with_endpoint(endpoint.as_str())
            .with_virtual_hosted_style_request(false)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    let store = builder.build().map_err(|error| error.to_string())?;
    let prefix = Path::parse(&s3.prefix).map_err(|error| error.to_string())?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

type Hyper = Client<HttpsConnector<Tcp>, HttpRequestBody>;

#[derive(Clone, Debug)]
struct Connector(Hyper);

impl Connector {
    fn new(s3: &S3) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = &s3.ca_file {
            let failed = |error: String| format!("cannot use {}: {error}", file.display());
            let read = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
            for certificate in read {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(PATIENCE).build(https);
        Ok(Self(client))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| {
                let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
                HttpError::new(kind, error)
            })?;
            let (head, body) = answer.into_parts();
            // Whole, so that its time is bounded, too.
            let body = Limited::new(body, LONGEST).collect().await;
            let body: Bytes = body.map_err(|error| HttpError::new_boxed(HttpErrorKind::Interrupted, error))?.to_bytes();
            let body = Full::new(body).map_err(|never| match never {});
            Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
        };
        let late = |late| HttpError::new(HttpErrorKind::Timeout, late);
        tokio::time::timeout(PATIENCE, exchange).await.map_err(late)?
    }
}
