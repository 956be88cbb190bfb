//! Pages of the tests' own, some of which misbehave, on a free port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Serves until dropped.
pub struct Site {
    port: u16,
    hits: Hits,
    _serving: DropGuard,
}

/// How often each path was asked for.
type Hits = Arc<Mutex<HashMap<String, u64>>>;

impl Site {
    /// Every page, by name; each is a task of [`Web::pages`](crate::Web::pages).
    pub const PAGES: [&'static str; 9] = ["plain", "counter", "spin", "popups", "hog", "never", "visits", "store", "form"];

    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hits = Hits::default();
        let app = Router::new().route("/{page}", get(serve)).with_state(hits.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! { served = axum::serve(listener, app) => served.unwrap(), () = stopped => {} }
        });
        Self { port, hits, _serving: stop.drop_guard() }
    }

    pub fn url(&self, page: &str) -> String {
        format!("http://127.0.0.1:{}/{page}", self.port)
    }

    /// How often a page was asked for.
    pub fn hits(&self, page: &str) -> u64 {
        self.hits.lock().unwrap().get(page).copied().unwrap_or(0)
    }
}

async fn serve(State(hits): State<Hits>, Path(name): Path<String>) -> Html<String> {
    let visit = {
        let mut hits = hits.lock().unwrap();
        let visits = hits.entry(name.clone()).or_default();
        *visits += 1;
        *visits
    };
    let body = match name.as_str() {
        "counter" => "<button onclick=\"fetch('/clicked');this.textContent='clicked '+ ++n\">go</button><script>n=0</script>".to_owned(),
        "spin" => "<button onclick=\"for(;;);\">spin</button><button onclick=\"document.title='alive'\">other</button>".to_owned(),
        "popups" => "<button onclick=\"for(let i=0;i<100;i++)window.open('/plain')\">popups</button>".to_owned(),
        "hog" => "<button onclick=\"const a=[];for(;;)a.push(new Array(5e6).fill(Math.random()))\">hog</button>".to_owned(),
        "never" => std::future::pending().await,
        // Never the same page twice.
        "visits" => format!("<p>visit {visit}</p><button>go</button>"),
        "store" => "<p id=p></p><button onclick=\"localStorage.a='kept';document.cookie='c=kept;max-age=9999';show()\">keep</button>
             <script>function show(){p.textContent='local '+localStorage.a+', '+document.cookie}show()</script>"
            .to_owned(),
        "form" => "<input aria-label=name><button onclick=\"document.title='sent'\">send</button>".to_owned(),
        _ => format!("<p>{name}</p>"),
    };
    Html(format!("<!doctype html><title>{name}</title><body>{body}"))
}
