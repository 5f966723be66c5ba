//! Starting and stopping: options in, a listening server and its world out. One server plays every provider.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::client::SimClient;
use super::connection::{Connection, CuttableListener};
use super::notifier::NotifierError;
use super::script::RepeatPolicy;
use super::signature::KeyUnreadable;
use super::world::World;
use super::{admin, brick, doku, paydia, winpay};

/// How long a stopping simulator waits for calls that are still being answered.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// Why the simulator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The address is taken or not ours.
    #[error("the simulator cannot listen on {address}; choose another address, or port 0 for a free one")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A client's public key is unreadable.
    #[error("the public key of simulated client `{client_id}` cannot be read")]
    Key {
        /// Whose.
        client_id: String,
        /// Why.
        #[source]
        source: KeyUnreadable,
    },
    /// Nobody has this client id.
    #[error("the simulator has no client `{client_id}`; name one of those it was started with")]
    ClientUnknown {
        /// What was asked for.
        client_id: String,
    },
    /// The reference is taken.
    #[error("the simulator already has a payment `{partner_reference_no}`; references are unique per client")]
    PaymentExists {
        /// Which.
        partner_reference_no: String,
    },
    /// There is no such payment.
    #[error("the simulator has no payment `{partner_reference_no}`; add it first")]
    PaymentUnknown {
        /// Which.
        partner_reference_no: String,
    },
    /// The operating system gave no random bytes for a token.
    #[error("the operating system gave no random bytes for a token")]
    Entropy,
    /// Notifications cannot be sent.
    #[error(transparent)]
    Notifier(#[from] NotifierError),
}

/// How a simulator is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimOptions {
    /// Where to listen; port 0 takes a free one. The control endpoints exist only on loopback.
    pub listen: SocketAddr,
    /// The merchants it knows.
    pub clients: Vec<SimClient>,
    /// Seed of everything that is drawn.
    #[serde(default)]
    pub seed: u64,
    /// Validity of B2B tokens, in seconds.
    #[serde(default = "default_token_ttl_secs")]
    pub token_ttl_secs: u64,
    /// Whether a client's new token invalidates its older ones.
    #[serde(default)]
    pub new_token_kills_old: bool,
    /// Milliseconds before every answer.
    #[serde(default)]
    pub latency_ms: u64,
    /// What happens to a `partnerRefundNo` that is already known.
    #[serde(default)]
    pub repeat_policy: RepeatPolicy,
    /// Keep the arrival log; it grows with every call.
    #[serde(default)]
    pub arrival_log: bool,
}

const fn default_token_ttl_secs() -> u64 {
    900
}

impl SimOptions {
    /// A free port on loopback, tokens of 900 s, no latency, no arrival log.
    pub fn loopback(clients: Vec<SimClient>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            clients,
            seed: 0,
            token_ttl_secs: default_token_ttl_secs(),
            new_token_kills_old: false,
            latency_ms: 0,
            repeat_policy: RepeatPolicy::default(),
            arrival_log: false,
        }
    }
}

/// The simulator.
#[derive(Debug)]
pub struct Sim;

impl Sim {
    /// Listens and serves on the current tokio runtime until the handle is shut down or dropped.
    pub async fn start(options: SimOptions) -> Result<SimHandle, SimError> {
        let listen = options.listen;
        let world = Arc::new(World::try_new(options)?);
        let unavailable = |source| SimError::Listen { address: listen, source };
        let listener = CuttableListener::bind(listen).await.map_err(unavailable)?;
        let address = axum::serve::Listener::local_addr(&listener).map_err(unavailable)?;
        let providers = doku::routes().merge(paydia::routes()).merge(brick::routes()).merge(winpay::routes());
        let mut routes: Router = providers.with_state(Arc::clone(&world));
        if address.ip().is_loopback() {
            routes = routes.merge(admin::routes(Arc::clone(&world)));
        }
        let stopped = world.stop.clone().cancelled_owned();
        let serving = axum::serve(listener, routes.into_make_service_with_connect_info::<Connection>());
        let server = tokio::spawn(async move { serving.with_graceful_shutdown(stopped).await });
        Ok(SimHandle { address, world, server: Some(server) })
    }
}

/// A running simulator. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct SimHandle {
    address: SocketAddr,
    world: Arc<World>,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

impl SimHandle {
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The world it plays; it stays readable after the simulator stopped.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world)
    }

    /// Stops listening, lets go of held calls and waits, some seconds at most, for the rest.
    pub async fn shutdown(mut self) {
        self.stop();
        if let Some(server) = self.server.take() {
            match tokio::time::timeout(STOP_WAIT, server).await {
                Ok(Ok(Ok(()))) => {}
                ended => tracing::debug!(?ended, "the simulator did not stop in an orderly way"),
            }
        }
    }

    fn stop(&self) {
        self.world.stop.cancel();
        self.world.gates.release_all();
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
