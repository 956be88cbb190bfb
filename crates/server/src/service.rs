//! The gRPC services of the port: the farm's own, health and reflection.

use std::sync::Arc;

use envfarm_proto::limits::MAX_MESSAGE_BYTES;
use envfarm_proto::v1::env_farm_server::{EnvFarm, EnvFarmServer};
use envfarm_proto::{FILE_DESCRIPTOR_SET, v1};
use envfarm_rollout::{Farm, LeaseId};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder as Reflection;

use crate::{stream, unary};

/// Services that health checks may name; the empty one stands for the server.
const HEALTH_NAMES: [&str; 2] = ["", "envfarm.v1.EnvFarm"];

struct Service {
    farm: Arc<Farm>,
    memory_budget_bytes: u64,
    shutdown: CancellationToken,
}

/// Everything that the gRPC port answers, before authentication.
pub(crate) async fn routes(farm: Arc<Farm>, memory_budget_bytes: u64, shutdown: &CancellationToken) -> Routes {
    let (reporter, health) = tonic_health::server::health_reporter();
    report(&reporter, ServingStatus::Serving).await;
    tokio::spawn(watch(farm.clone(), reporter, shutdown.clone()));
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let service = EnvFarmServer::new(Service { farm, memory_budget_bytes, shutdown: shutdown.clone() })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(service)
        .add_service(health)
        .add_service(reflection().build_v1().expect("the descriptors are generated with this program"))
        .add_service(reflection().build_v1alpha().expect("the descriptors are generated with this program"))
}

/// Reports `NOT_SERVING` once the farm drains: no new trainer should come here. Ends the streams of watching clients on
/// shutdown, since they would hold their connections open.
async fn watch(farm: Arc<Farm>, mut reporter: HealthReporter, shutdown: CancellationToken) {
    let mut draining = farm.draining();
    let drains = async { draining.wait_for(Option::is_some).await.is_ok() };
    if shutdown.run_until_cancelled(drains).await == Some(true) {
        report(&reporter, ServingStatus::NotServing).await;
        shutdown.cancelled().await;
    }
    for name in HEALTH_NAMES {
        reporter.clear_service_status(name).await;
    }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        reporter.set_service_status(name, status).await;
    }
}

#[tonic::async_trait]
impl EnvFarm for Service {
    async fn list_environments(&self, _: Request<v1::ListEnvironmentsRequest>) -> Result<Response<v1::ListEnvironmentsResponse>, Status> {
        Ok(Response::new(unary::environments(&self.farm)))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Result<Response<v1::ListTasksResponse>, Status> {
        unary::tasks(&self.farm, request.get_ref()).map(Response::new)
    }

    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        unary::acquire(&self.farm, request.get_ref()).map(Response::new)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        unary::renew(&self.farm, request.into_inner()).map(Response::new)
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        self.farm.release(&LeaseId(request.into_inner().lease_id));
        Ok(Response::new(v1::ReleaseResponse {}))
    }

    async fn list_snapshots(&self, request: Request<v1::ListSnapshotsRequest>) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        Ok(Response::new(unary::snapshots(&self.farm, request.get_ref())))
    }

    async fn delete_snapshot(&self, request: Request<v1::DeleteSnapshotRequest>) -> Result<Response<v1::DeleteSnapshotResponse>, Status> {
        unary::delete_snapshot(&self.farm, request.into_inner()).map(Response::new)
    }

    async fn get_status(&self, _: Request<v1::GetStatusRequest>) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(unary::status(&self.farm, self.memory_budget_bytes)))
    }

    type RolloutStream = stream::Responses;

    async fn rollout(&self, request: Request<Streaming<v1::RolloutRequest>>) -> Result<Response<Self::RolloutStream>, Status> {
        stream::open(self.farm.clone(), request.into_inner(), self.shutdown.clone()).await.map(Response::new)
    }
}
