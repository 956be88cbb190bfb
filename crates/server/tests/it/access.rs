//! Who may call, and what the standard services say.

use std::net::SocketAddr;
use std::time::Duration;

use envfarm_proto::client::Tls;
use envfarm_proto::{Client, ClientError};
use envfarm_server::{Server, ServerOptions, StartError, TlsFiles};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1 as reflection, v1alpha};

use crate::farm::{ANY, Served, null_farm, options, with_token};

fn code(error: ClientError) -> Code {
    match error {
        ClientError::Status(status) => status.code(),
        other => panic!("not a status: {other}"),
    }
}

#[tokio::test]
async fn every_call_needs_the_token() {
    let served = Served::start(with_token("secret")).await;
    let endpoint = format!("http://{}", served.addr);
    for token in [None, Some("secre"), Some("secrets"), Some("Secret")] {
        let client = Client::connect(&endpoint, token, None).await.unwrap();
        assert_eq!(code(client.status().await.unwrap_err()), Code::Unauthenticated, "{token:?}");
        assert_eq!(code(client.rollout("x", &[]).await.err().unwrap()), Code::Unauthenticated, "{token:?}");
    }
    let client = Client::connect(&endpoint, Some("secret"), None).await.unwrap();
    assert_eq!(client.environments().await.unwrap()[0].name, "null");
    assert_eq!(client.status().await.unwrap().memory_budget_bytes, 1 << 30);
}

#[tokio::test]
async fn without_the_token_only_the_health_check_answers() {
    let served = Served::start(with_token("secret")).await;
    let channel = Endpoint::from_shared(format!("http://{}", served.addr)).unwrap().connect().await.unwrap();
    let check = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(check.into_inner().status(), ServingStatus::Serving);
    let watch = HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await;
    assert_eq!(watch.unwrap_err().code(), Code::Unauthenticated);
    let requests = tokio_stream::iter([reflection::ServerReflectionRequest::default()]);
    let answer = reflection::server_reflection_client::ServerReflectionClient::new(channel).server_reflection_info(requests).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_a_token() {
    let open = ServerOptions { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..options() };
    let refused = Server::bind(null_farm(), open.clone()).await.err();
    assert!(matches!(refused, Some(StartError::OpenWithoutToken(_))), "{refused:?}");
    assert!(Server::bind(null_farm(), ServerOptions { token: with_token("secret").token, ..open }).await.is_ok());
}

#[tokio::test]
async fn tls_serves_those_who_trust_the_certificate_and_nobody_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let served = Served::start(ServerOptions { tls: Some(files), ..with_token("secret") }).await;

    let trusting = |ca_pem: String| Tls { ca_pem: ca_pem.into_bytes(), domain: Some("localhost".to_owned()) };
    let endpoint = format!("https://{}", served.addr);
    let client = Client::connect(&endpoint, Some("secret"), Some(trusting(made.cert.pem()))).await.unwrap();
    assert_eq!(client.environments().await.unwrap().len(), 1);

    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    assert!(Client::connect(&endpoint, Some("secret"), Some(trusting(other.cert.pem()))).await.is_err());
    let plain = async { Client::connect(&format!("http://{}", served.addr), Some("secret"), None).await?.status().await };
    assert!(plain.await.is_err());
}

#[tokio::test]
async fn bad_tls_files_are_named_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    let bind = || Server::bind(null_farm(), ServerOptions { tls: Some(files.clone()), ..options() });
    assert!(matches!(bind().await.err(), Some(StartError::Read { path, .. }) if path == files.cert));
    std::fs::write(&files.cert, "no certificate").unwrap();
    std::fs::write(&files.key, "no key").unwrap();
    assert!(matches!(bind().await.err(), Some(StartError::Tls { .. })));
}

#[tokio::test]
async fn a_port_in_use_is_named_at_start() {
    let taken = tokio::net::TcpListener::bind(ANY).await.unwrap();
    let addr = taken.local_addr().unwrap();
    let refused = Server::bind(null_farm(), ServerOptions { listen: addr, ..options() }).await.err().unwrap();
    assert!(refused.to_string().contains(&addr.to_string()), "{refused}");
}

#[tokio::test]
async fn health_says_not_serving_while_the_farm_drains() {
    let served = Served::start(options()).await;
    let channel = Endpoint::from_shared(format!("http://{}", served.addr)).unwrap().connect().await.unwrap();
    let named = HealthCheckRequest { service: "envfarm.v1.EnvFarm".to_owned() };
    let mut watch = HealthClient::new(channel.clone()).watch(named.clone()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    served.farm.drain(Duration::ZERO).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let check = HealthClient::new(channel).check(named).await.unwrap();
    assert_eq!(check.into_inner().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let served = Served::start(options()).await;
    let channel = Endpoint::from_shared(format!("http://{}", served.addr)).unwrap().connect().await.unwrap();
    let list = reflection::ServerReflectionRequest {
        message_request: Some(reflection::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::iter([list])).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap().message_response);
    assert!(answer.contains("envfarm.v1.EnvFarm") && answer.contains("grpc.health.v1.Health"), "{answer}");

    let file = v1alpha::ServerReflectionRequest {
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol("envfarm.v1.EnvFarm".to_owned())),
        ..Default::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::iter([file])).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap().message_response);
    assert!(answer.contains("FileDescriptorResponse"), "{answer}");
}
