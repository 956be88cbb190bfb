//! A real Chromium and a small web site, for tests of the backend. Each test has its own of both, on free ports.

#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its part; a test fails by panicking

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use envfarm_chromium::{CDP_ENDPOINT, ChromiumBackend, ChromiumOptions};
use envfarm_core::{
    Action, ActionResult, Backend, Dialect, Endpoints, Host, HostId, ObservationKind, ObservationRequest, ObservationSpec, Provider,
    Sandbox, SandboxSpec,
};
use envfarm_process::ProcessProvider;
use tokio_util::sync::CancellationToken;

pub struct Browser {
    pub host: Arc<dyn Host>,
    pub provider: ProcessProvider,
    pub id: HostId,
    pub endpoints: Endpoints,
    pub backend: ChromiumBackend,
    pub site: Site,
    _state: tempfile::TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut ChromiumOptions)) -> Self {
        let mut options = ChromiumOptions {
            load_cap: Duration::from_secs(4),
            settle_cap: Duration::from_secs(2),
            action_cap: Duration::from_secs(2),
            ..Default::default()
        };
        change(&mut options);
        let backend = ChromiumBackend::new(options);
        let state = tempfile::tempdir().unwrap();
        let provider = ProcessProvider::new(state.path().to_owned()).unwrap();
        let id = HostId("test-0".to_owned());
        let cancel = CancellationToken::new();
        let endpoints = provider.launch(&id, &backend.host_spec("test"), &cancel).await.unwrap();
        let host = backend.connect(&endpoints, &cancel).await.unwrap();
        Self { host, provider, id, endpoints, backend, site: Site::start().await, _state: state }
    }

    pub async fn open(&self) -> Page {
        let sandbox = self.host.open(&SandboxSpec { viewport: (800, 600), start_url: None }).await.unwrap();
        Page { sandbox }
    }

    /// A sandbox that shows a page of the site.
    pub async fn page(&self, path: &str) -> Page {
        let mut page = self.open().await;
        page.sandbox.web().unwrap().navigate(&self.site.url(path)).await.unwrap();
        page
    }

    pub async fn stop(self) {
        self.provider.destroy(&self.id).await.unwrap();
    }

    /// Process ids of the browser's renderers.
    pub fn renderers(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut parents = vec![self.endpoints.pid.unwrap()];
        while let Some(pid) = parents.pop() {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            for child in children.split_whitespace().map(|c| c.parse::<u32>().unwrap()) {
                let line = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
                if line.contains("--type=renderer") {
                    found.push(child);
                }
                parents.push(child);
            }
        }
        found
    }

    pub fn cdp_url(&self) -> &str {
        &self.endpoints.urls[CDP_ENDPOINT]
    }
}

pub struct Page {
    pub sandbox: Box<dyn Sandbox>,
}

impl Page {
    pub async fn act(&mut self, text: &str) -> ActionResult {
        let action = Dialect::Browsergym.parse(text).unwrap();
        self.sandbox.act(&action).await.unwrap()
    }

    /// Performs an action that must succeed.
    pub async fn ok(&mut self, text: &str) -> ActionResult {
        let result = self.act(text).await;
        assert!(result.is_ok(), "{text}: {result:?}");
        result
    }

    pub async fn perform(&mut self, action: Action) -> ActionResult {
        self.sandbox.act(&action).await.unwrap()
    }

    pub async fn observe(&mut self, kind: ObservationKind) -> String {
        let specs = vec![ObservationSpec::new(kind, None).unwrap()];
        let seen = self.sandbox.observe(&ObservationRequest { specs, ..Default::default() }).await.unwrap();
        String::from_utf8(seen[0].data.clone().unwrap().to_vec()).unwrap()
    }

    /// Id of the element whose line in the accessibility text contains `text`.
    pub async fn id(&mut self, text: &str) -> String {
        let tree = self.observe(ObservationKind::AxtreeTxt).await;
        let line = tree.lines().find(|l| l.contains(text) && l.trim_start().starts_with('['));
        let line = line.unwrap_or_else(|| panic!("no {text:?} in\n{tree}"));
        line.trim_start().trim_start_matches('[').split(']').next().unwrap().to_owned()
    }

    pub async fn eval(&mut self, expression: &str) -> serde_json::Value {
        self.sandbox.web().unwrap().evaluate(expression).await.unwrap().unwrap()
    }

    /// Puts elements into the page in place of all that is there; scripts among them do not run.
    pub async fn show(&mut self, html: &str) {
        self.eval(&format!("document.body.innerHTML = {}", serde_json::json!(html))).await;
    }

    /// Shows a document in the frame that a selector finds.
    pub async fn show_in_frame(&mut self, selector: &str, html: &str) {
        let (selector, html) = (serde_json::json!(selector), serde_json::json!(html));
        let load = format!("frame => new Promise(done => {{ frame.onload = () => done(1); frame.srcdoc = {html} }})");
        self.eval(&format!("({load})(document.querySelector({selector}))")).await;
    }

    /// Id of the element that a selector finds in the document, as of the last observation.
    pub async fn id_of(&mut self, selector: &str) -> String {
        self.text(&format!("document.querySelector({}).getAttribute('bid')", serde_json::json!(selector))).await
    }

    /// Waits until a condition holds in the page.
    pub async fn until(&mut self, condition: &str) {
        self.eval(&format!("new Promise(done => {{ const look = () => {condition} ? done(1) : setTimeout(look, 5); look() }})")).await;
    }

    pub async fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression).await;
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }
}

/// Pages by path; see the match in `page`.
pub struct Site {
    port: u16,
    _serving: tokio_util::sync::DropGuard,
}

impl Site {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new()
            .route(
                "/download",
                get(|| async { ([(header::CONTENT_DISPOSITION, "attachment; filename=\"a.bin\"")], vec![0u8; 64]).into_response() }),
            )
            .route("/never", get(std::future::pending::<Html<String>>))
            .route(
                "/slow",
                get(|| async {
                    tokio::time::sleep(Duration::from_millis(2500)).await;
                    Html("<title>slow</title><p>at last".to_owned())
                }),
            )
            .route("/slow.js", get(std::future::pending::<Html<String>>))
            .fallback(move |uri: axum::http::Uri| async move { Html(page(uri.path(), port)) });
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! { r = axum::serve(listener, app) => r.unwrap(), () = stopped => {} }
        });
        Self { port, _serving: stop.drop_guard() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn page(path: &str, port: u16) -> String {
    let body = match path {
        "/button" => "<button onclick=\"this.textContent='done ' + ++n\">go</button><script>n=0</script>",
        "/form" => {
            "<input id=t aria-label=name value=old><textarea id=a aria-label=story></textarea>
             <input id=d type=date aria-label=day><input id=ro readonly aria-label=fixed value=x>
             <select id=s aria-label=colour><option value=r>Red</option><option value=b>Blue</option></select>
             <select id=m multiple aria-label=many><option>one<option>two<option>three</select>
             <input id=c type=checkbox aria-label=agree><div id=e contenteditable aria-label=free role=textbox>words</div>
             <button disabled>cannot</button><button style=display:none>hidden</button><input type=file id=f aria-label=file>
             <script>log=[]; for (const k of ['input','change','keydown']) document.addEventListener(k, e => log.push(k+':'+e.target.id+(e.key?':'+e.key:'')))</script>"
        }
        "/dialogs" => {
            "<button onclick=\"alert('hi');document.title='after'\">alert</button>
             <button onclick=\"document.title=String(confirm('sure?'))\">confirm</button>
             <button onclick=\"document.title=String(prompt('name?'))\">prompt</button>"
        }
        "/links" => {
            "<a href=/button>same</a> <a href=/button target=_blank>blank</a> <a href=/download>download</a> <a href=/never>never</a>
             <button onclick=\"for(let i=0;i<100;i++)window.open('/button')\">popups</button> <a href=file:///etc/passwd>file</a>
             <button onclick=\"window.open('/button')\">popup</button>
             <button onclick=\"setTimeout(()=>fetch('/slow.js'),0)\">poll</button>"
        }
        "/frames" => &format!(
            "<iframe src=/button title=inner></iframe><iframe src=http://localhost:{port}/button title=outer></iframe>
             <div id=host></div><script>const r=host.attachShadow({{mode:'open'}});r.innerHTML='<button>shadow</button>';
             r.firstChild.onclick=()=>document.title='shadow clicked'</script>"
        ),
        "/spin" => "<button onclick=\"for(;;);\">spin</button><button onclick=\"document.title='alive'\">other</button>",
        "/hog" => {
            "<button onclick=\"const a=[];for(;;)a.push(new Array(5e6).fill(Math.random()))\">hog</button>"
        }
        "/drag" => {
            "<div id=a draggable=true style='width:50px;height:50px;background:red'>from</div><div id=b style='width:80px;height:80px;background:blue;margin-top:60px'>to</div>
             <script>a.ondragstart=e=>e.dataTransfer.setData('text','x');b.ondragover=e=>e.preventDefault();b.ondrop=e=>{e.preventDefault();document.title='dropped '+e.dataTransfer.getData('text')}</script>"
        }
        "/mouse" => {
            "<div id=p style='width:200px;height:200px'>pad</div><script>log=[];for(const k of ['mousedown','mouseup','click','dblclick','contextmenu','wheel'])
             addEventListener(k,e=>log.push(k+':'+e.button+(e.ctrlKey?':ctrl':'')))</script>"
        }
        "/cover" => "<button id=b>under</button><div style='position:fixed;inset:0;background:#fff8'>veil</div>",
        "/scrollers" => {
            "<div id=inner style='position:fixed;left:200px;top:150px;width:400px;height:300px;overflow:auto'><p style='height:3000px'>inner</div>
             <p style='height:4000px'>outer"
        }
        "/tall" => "<div style='height:5000px'>top</div><button onclick=\"document.title='found'\">below</button>",
        "/store" => {
            "<p>store</p><script>
             if (!localStorage.a) { document.cookie='c=1;max-age=9999';localStorage.a='1';sessionStorage.b='2';
             const r=indexedDB.open('db',1);r.onupgradeneeded=()=>r.result.createObjectStore('s').put({v:3},'k');
             r.onsuccess=()=>{document.title='stored'} }</script><div style='height:3000px'></div>"
        }
        "/plain" => "<p>plain</p>",
        "/late" => "<p id=p>early</p><button onclick=\"setTimeout(()=>{p.textContent='late'},0)\">go</button>",
        "/stuck" => "<p>stuck</p><script src=/slow.js></script>",
        "/slowlink" => "<a href=/slow>slow</a>",
        "/hung" => "<img src=/never><p id=p>hung</p><button onclick=\"p.textContent='pressed'\">press</button>",
        "/spa" => "<p id=p>Loading</p><script>fetch('/plain').then(()=>setTimeout(()=>{p.textContent='Ready'},5))</script>",
        "/scripted" => "<p>scripted</p><script>globalThis.envfarm={mark(){return{title:'spoofed'}}};n=1</script>",
        "/nest" => &"<iframe src=/scripted></iframe>".repeat(6),
        "/tampered" => {
            "<p id=p>before</p><button onclick=\"c.port2.postMessage(0)\">go</button>
             <script>c=new MessageChannel;n=0;c.port1.onmessage=()=>{p.textContent='n'+ ++n;if(n<500)c.port2.postMessage(0)};MutationObserver=class{observe(){}disconnect(){}};performance.now=()=>0</script>"
        }
        "/blink" => &format!("<script>onload=()=>setTimeout(close,20)</script>{}", "<a href=/plain>link</a> ".repeat(1500)),
        "/closer" => "<button onclick=\"window.close()\">close</button>",
        _ => "<p>nothing here</p>",
    };
    format!("<!doctype html><title>{}</title><body>{body}", path.trim_start_matches('/'))
}
