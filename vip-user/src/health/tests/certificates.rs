//! Checks of servers that show a certificate.

use std::{path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate, as `ca` takes it.
    fn write(&self, file: &Path) {
        fs::write(file, self.0.pem()).unwrap();
    }

    /// A web server with a certificate for `name`; gives its port.
    async fn server(&self, name: &str) -> u16 {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that does not trust it ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwell").await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }
}

#[tokio::test]
async fn a_certificate_has_to_be_of_the_right_name_and_signed_by_whom_is_trusted() {
    let folder = Folder::new();
    let (own, foreign) = (folder.path().join("own.pem"), folder.path().join("foreign.pem"));
    let authority = Authority::new("own");
    authority.write(&own);
    Authority::new("foreign").write(&foreign);
    let port = authority.server("www.example.com").await;
    let https = |host: &str, more: &str| {
        format!(
            "type = \"http\"\nurl = \"https://127.0.0.1:{port}/\"\nhost = {host:?}\nbody = \"well\"\n{more}"
        )
    };
    let trusting = |file: &Path| format!("ca = {file:?}");

    assert_eq!(run(&https("www.example.com", &trusting(&own))).await, Ok(()));
    for (host, more, why) in [
        ("mail.example.com", trusting(&own), "not valid for name"),
        ("127.0.0.1", trusting(&own), "not valid for name"),
        ("www.example.com", trusting(&foreign), "UnknownIssuer"),
        // The system has some to trust, or none.
        ("www.example.com", String::new(), ""),
    ] {
        let refused = run(&https(host, &more)).await.unwrap_err();
        assert!(refused.contains(why), "{host}, {more}: {refused}");
    }
    // Not asked who it is.
    assert_eq!(run(&https("mail.example.com", "verify = false")).await, Ok(()));
}
