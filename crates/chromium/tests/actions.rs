//! What an agent can do to a page, in a real Chromium.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::Browser;
use envfarm_core::{Action, ActionStatus, ObservationKind, Target};

#[tokio::test(flavor = "multi_thread")]
async fn a_click_by_id_by_pixel_and_by_share_all_land() {
    let browser = Browser::start().await;
    let mut page = browser.page("/button").await;
    let id = page.id("button").await;
    page.ok(&format!("click('{id}')")).await;
    assert_eq!(page.text("document.querySelector('button').textContent").await, "done 1");
    let centre = "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('button').getBoundingClientRect())";
    let at: (f64, f64) = serde_json::from_value(page.eval(centre).await).unwrap();
    page.ok(&format!("mouse_click({}, {})", at.0, at.1)).await;
    let share = Target::Point { x: at.0 / 800.0, y: at.1 / 600.0 };
    assert!(page.perform(Action::click(share)).await.is_ok());
    assert_eq!(page.text("document.querySelector('button').textContent").await, "done 3");
    assert_eq!(page.id("button").await, id, "an element keeps its id");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_take_text_options_and_checks_and_say_why_not() {
    let browser = Browser::start().await;
    let mut page = browser.page("/form").await;
    let id = page.id("name").await;
    page.ok(&format!("fill('{id}', 'Ada \"L\" é')")).await;
    assert_eq!(page.text("t.value").await, "Ada \"L\" é");
    page.ok(&format!("clear('{id}')")).await;
    assert_eq!(page.text("t.value").await, "");
    page.ok(&format!("click('{id}')")).await;
    page.ok("keyboard_type('aB1é')").await;
    page.ok(&format!("press('{id}', 'Control+a')")).await;
    page.ok("keyboard_insert_text('xyz')").await;
    assert_eq!(page.text("t.value").await, "xyz");
    assert!(page.text("log.join()").await.contains("keydown:t:B"), "typing gives key events");

    let day = page.id("day").await;
    page.ok(&format!("fill('{day}', '2024-02-29')")).await;
    assert_eq!(page.text("d.value").await, "2024-02-29");
    assert_eq!(page.act(&format!("fill('{day}', 'tomorrow')")).await.status, ActionStatus::NotInteractable);
    let fixed = page.id("fixed").await;
    assert!(page.act(&format!("fill('{fixed}', 'y')")).await.error.contains("read-only"));
    let free = page.id("free").await;
    page.ok(&format!("fill('{free}', 'other')")).await;
    assert_eq!(page.text("e.textContent").await, "other");

    let colour = page.id("colour").await;
    page.ok(&format!("select_option('{colour}', 'Blue')")).await;
    assert_eq!(page.text("s.value").await, "b");
    assert!(page.text("log.join()").await.contains("change:s"));
    let missing = page.act(&format!("select_option('{colour}', 'Green')")).await;
    assert!(missing.error.contains("Green") && missing.error.contains("Red"), "{missing:?}");
    let many = page.id("many").await;
    page.ok(&format!("select_option('{many}', ['one', 'three'])")).await;
    assert_eq!(page.eval("[...m.selectedOptions].map(o=>o.text)").await, serde_json::json!(["one", "three"]));

    let agree = page.id("agree").await;
    page.ok(&format!("check('{agree}')")).await;
    page.ok(&format!("check('{agree}')")).await;
    assert_eq!(page.eval("c.checked").await, true);
    page.ok(&format!("uncheck('{agree}')")).await;
    assert_eq!(page.eval("c.checked").await, false);

    let cannot = page.id("cannot").await;
    assert!(page.act(&format!("click('{cannot}')")).await.error.contains("disabled"));
    assert_eq!(page.act("click('9999')").await.status, ActionStatus::NoSuchElement);
    assert_eq!(page.act("click('zz1')").await.status, ActionStatus::NoSuchElement);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mouse_has_buttons_counts_modifiers_and_a_wheel() {
    let browser = Browser::start().await;
    let mut page = browser.page("/mouse").await;
    page.ok("mouse_click(50, 50, 'right')").await;
    page.ok("mouse_dblclick(50, 50)").await;
    let id = page.eval("document.querySelector('#p').getAttribute('bid')").await;
    assert!(id.is_null() || id.is_string());
    page.ok("scroll(0, 100)").await;
    let log = page.text("log.join()").await;
    for event in ["contextmenu:2", "dblclick:0", "wheel:0"] {
        assert!(log.contains(event), "{event} in {log}");
    }
    assert_eq!(page.act("mouse_click(5000, 5)").await.status, ActionStatus::Failed);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_below_is_scrolled_to_and_a_covered_one_is_refused() {
    let browser = Browser::start().await;
    let mut page = browser.page("/tall").await;
    let id = page.id("below").await;
    page.ok(&format!("click('{id}')")).await;
    assert_eq!(page.text("document.title").await, "found");
    let mut page = browser.page("/cover").await;
    let id = page.id("under").await;
    let result = page.act(&format!("click('{id}')")).await;
    assert_eq!(result.status, ActionStatus::NotInteractable);
    assert!(result.error.contains("covered"), "{result:?}");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_drag_and_drop_arrives() {
    let browser = Browser::start().await;
    let mut page = browser.page("/drag").await;
    page.ok("mouse_drag_and_drop(30, 30, 40, 150)").await;
    assert_eq!(page.text("document.title").await, "dropped x");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_both_origins_and_shadow_trees_are_seen_and_clicked() {
    for site_isolation in [false, true] {
        let browser = Browser::start_with(|o| o.site_isolation = site_isolation).await;
        let mut page = browser.page("/frames").await;
        page.ok("noop(0)").await;
        let tree = page.observe(ObservationKind::AxtreeTxt).await;
        assert_eq!(tree.matches("button 'go'").count(), 2, "isolation {site_isolation}\n{tree}");
        let ids: Vec<String> = tree
            .lines()
            .filter(|l| l.contains("button 'go'"))
            .map(|l| l.trim().trim_start_matches('[').split(']').next().unwrap().to_owned())
            .collect();
        for id in &ids {
            page.ok(&format!("click('{id}')")).await;
        }
        let tree = page.observe(ObservationKind::AxtreeTxt).await;
        assert_eq!(tree.matches("button 'done 1'").count(), 2, "isolation {site_isolation}\n{tree}");
        let id = page.id("shadow").await;
        page.ok(&format!("click('{id}')")).await;
        assert_eq!(page.text("document.title").await, "shadow clicked");
        browser.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_click_posts_is_waited_for() {
    let browser = Browser::start().await;
    let mut page = browser.page("/late").await;
    let id = page.id("button").await;
    page.ok(&format!("click('{id}')")).await;
    assert!(page.observe(ObservationKind::AxtreeTxt).await.contains("late"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_open_close_and_change() {
    let browser = Browser::start().await;
    let mut page = browser.page("/links").await;
    let id = page.id("'blank'").await;
    page.ok(&format!("click('{id}')")).await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/button"), "a new tab is the active one");
    page.ok("tab_focus(0)").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/links"));
    page.ok("tab_focus(1)").await;
    page.ok("tab_close()").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/links"));
    assert_eq!(page.act("tab_focus(7)").await.status, ActionStatus::Failed);
    page.ok("tab_close()").await;
    assert_eq!(page.observe(ObservationKind::Url).await, "about:blank");
    page.ok("new_tab()").await;
    page.ok(&format!("goto('{}')", browser.site.url("/plain"))).await;
    let tabs: serde_json::Value = serde_json::from_str(&page.observe(ObservationKind::Tabs).await).unwrap();
    assert_eq!(tabs["active"], 1);
    assert!(tabs["tabs"][1]["url"].as_str().unwrap().ends_with("/plain"));
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_back_and_forward_and_no_further() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.ok(&format!("goto('{}')", browser.site.url("/button"))).await;
    page.ok("go_back()").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/plain"));
    page.ok("go_forward()").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/button"));
    page.ok("go_forward()").await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/button"));
    let id = page.id("button").await;
    page.ok(&format!("click('{id}')")).await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_web_pages_can_be_reached() {
    let browser = Browser::start().await;
    let mut page = browser.page("/links").await;
    for url in ["file:///etc/passwd", "chrome://version", "devtools://devtools/x", "view-source:http://a", "javascript:alert(1)"] {
        let result = page.act(&format!("goto('{url}')")).await;
        assert_eq!(result.status, ActionStatus::Refused, "{url}: {result:?}");
    }
    let id = page.id("'file'").await;
    page.act(&format!("click('{id}')")).await;
    assert!(page.observe(ObservationKind::Url).await.ends_with("/links"), "a link to a file leads nowhere");
    let unreachable = page.act("goto('http://127.0.0.1:9/')").await;
    assert_eq!(unreachable.status, ActionStatus::Failed, "{unreachable:?}");
    page.ok("goto('data:text/html,<p>fine')").await;
    page.ok("goto('about:blank')").await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_offer_only_the_files_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cv.txt"), "me").unwrap();
    let browser = Browser::start_with(|o| o.uploads = Some(folder.path().to_owned())).await;
    let mut page = browser.page("/form").await;
    let id = page.id("file").await;
    page.ok(&format!("upload_file('{id}', 'cv.txt')")).await;
    assert_eq!(page.text("f.files[0].name").await, "cv.txt");
    for name in ["../cv.txt", "/etc/passwd", ".."] {
        assert_eq!(page.act(&format!("upload_file('{id}', '{name}')")).await.status, ActionStatus::Refused, "{name}");
    }
    let text = page.id("name").await;
    assert_eq!(page.act(&format!("upload_file('{text}', 'cv.txt')")).await.status, ActionStatus::NotInteractable);
    let chooser = page.ok(&format!("click('{id}')")).await;
    assert!(chooser.notes.iter().any(|n| n.contains("file chooser")), "{chooser:?}");
    browser.stop().await;
}

/// Logs what the mouse and a drag do, as kind and element.
const LOG_DRAGS: &str = "log = []; for (const k of ['mousedown', 'mouseup', 'click', 'dragstart', 'drop', 'dragend'])
    addEventListener(k, e => log.push(k + ':' + e.target.id)); addEventListener('mousemove', e => buttons = e.buttons);
    addEventListener('dragover', e => e.preventDefault()); 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_drag_takes_what_it_began_on_though_the_page_scrolls_on_the_way() {
    let browser = Browser::start().await;
    for (draggable, log) in [(true, "mousedown:a,dragstart:a,drop:b,dragend:a,mouseup:b"), (false, "mousedown:a,mouseup:b")] {
        let mut page = browser.page("/plain").await;
        page.show(&format!(
            "<p id=a draggable={draggable}>from</p><p draggable={draggable}>other</p><div style='height:2000px'></div><p id=b>to</p>"
        ))
        .await;
        page.eval(LOG_DRAGS).await;
        page.observe(ObservationKind::AxtreeTxt).await;
        let (from, to) = (page.id_of("#a").await, page.id_of("#b").await);
        page.ok(&format!("drag_and_drop('{from}', '{to}')")).await;
        assert_eq!(page.text("log.filter(l => !l.startsWith('click')).join()").await, log);
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drag_that_cannot_end_lets_go() {
    let browser = Browser::start().await;
    for (draggable, end) in [(true, "dragend:a"), (false, "mouseup:a")] {
        let mut page = browser.page("/plain").await;
        page.show(&format!("<p id=a draggable={draggable}>from</p><p id=b>to</p><button id=c>c</button>")).await;
        page.eval(LOG_DRAGS).await;
        page.observe(ObservationKind::AxtreeTxt).await;
        let (from, to) = (page.id_of("#a").await, page.id_of("#b").await);
        let missing = page.act(&format!("drag_and_drop('{from}', '9999')")).await;
        assert_eq!(missing.status, ActionStatus::NoSuchElement, "{missing:?}");
        assert_eq!(page.text("log.join()").await, "", "nothing is pressed for a drag to nowhere");
        page.eval("a.onmousedown = () => b.remove(); 0").await;
        let gone = page.act(&format!("drag_and_drop('{from}', '{to}')")).await;
        assert_eq!(gone.status, ActionStatus::NoSuchElement, "{gone:?}");
        assert!(page.text("log.join()").await.contains(end), "{}", page.text("log.join()").await);
        let button = page.id_of("#c").await;
        page.ok(&format!("click('{button}')")).await;
        assert!(page.text("log.join()").await.ends_with("click:c"), "{}", page.text("log.join()").await);
        assert_eq!(page.eval("buttons").await, 0);
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drag_that_runs_out_of_time_lets_go() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.show("<p id=a>from</p><p id=b>to</p>").await;
    page.eval("moves = 0; addEventListener('mousemove', e => { buttons = e.buttons; if (buttons && !moves++) for (;;); }); 0").await;
    page.observe(ObservationKind::AxtreeTxt).await;
    let (from, to) = (page.id_of("#a").await, page.id_of("#b").await);
    let late = page.act(&format!("drag_and_drop('{from}', '{to}')")).await;
    assert_eq!(late.status, ActionStatus::TimedOut, "{late:?}");
    page.ok("mouse_move(300, 300)").await;
    assert_eq!(page.eval("buttons").await, 0);
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_goes_to_the_field_that_was_named_or_nowhere() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.show(
        "<input id=first><input id=second><input id=shy onfocus='first.focus()'><fieldset disabled><input id=off></fieldset>
         <div id=free contenteditable><p id=part>words</p></div><label id=label for=first>label</label><p id=text>text</p>",
    )
    .await;
    page.observe(ObservationKind::AxtreeTxt).await;
    page.eval("second.style.display = 'none'; first.focus(); 0").await;
    let first = page.id_of("#first").await;
    for (selector, why) in [("#second", "hidden"), ("#shy", "is at ["), ("#off", "disabled"), ("#text", "neither")] {
        let id = page.id_of(selector).await;
        let result = page.act(&format!("fill('{id}', 'secret')")).await;
        assert_eq!(result.status, ActionStatus::NotInteractable, "{selector}: {result:?}");
        assert!(result.error.contains(why), "{selector}: {result:?}");
        let result = page.act(&format!("press('{id}', 's')")).await;
        assert_eq!(result.status, ActionStatus::NotInteractable, "{selector}: {result:?}");
        assert!(result.error.contains(&format!("[{first}] <input>")), "{selector}: {result:?}");
        assert_eq!(page.text("first.value").await, "", "{selector}");
    }
    for selector in ["#first", "#label", "body"] {
        let id = page.id_of(selector).await;
        page.ok(&format!("press('{id}', 's')")).await;
    }
    assert_eq!(page.text("first.value").await, "sss", "a label stands for its field, and what holds the field has the focus, too");
    let part = page.id_of("#part").await;
    page.ok(&format!("fill('{part}', 'other')")).await;
    assert_eq!(page.text("free.innerText.trim()").await, "other");
    page.eval("document.activeElement.blur(); 0").await;
    page.ok(&format!("press('{part}', 'x')")).await;
    assert!(page.text("free.innerText").await.contains('x'), "a part of editable text has its focus");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_in_shadow_trees_and_frames_take_text() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    page.show("<input id=other><div id=host></div><iframe></iframe>").await;
    page.eval("host.attachShadow({mode: 'open', delegatesFocus: true}).innerHTML = '<span><input aria-label=shadowed></span>'; 0").await;
    page.show_in_frame("iframe", "<input aria-label=framed>").await;
    let shadowed = page.id("textbox 'shadowed'").await;
    let framed = page.id("textbox 'framed'").await;
    page.eval("other.focus(); 0").await;
    page.ok(&format!("fill('{shadowed}', 'one')")).await;
    page.ok(&format!("fill('{framed}', 'two')")).await;
    let host = page.id_of("#host").await;
    page.ok(&format!("press('{host}', 'End')")).await;
    page.ok("keyboard_type('!')").await;
    assert_eq!(page.text("host.shadowRoot.querySelector('input').value").await, "one!");
    assert_eq!(page.text("document.querySelector('iframe').contentDocument.querySelector('input').value").await, "two");
    assert_eq!(page.text("other.value").await, "");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_scrolls_smoothly_is_scrolled_at_once() {
    let browser = Browser::start().await;
    let mut page = browser.page("/plain").await;
    let far = "<div style='height:3000px'></div>";
    let inner = format!("{far}<button onclick='parent.done.push(3)'>framed</button>{far}");
    page.show(&format!(
        "<style>:root, #box {{ scroll-behavior: smooth }}</style><button id=near onclick='done.push(0)'>near</button>{far}
         <button id=below onclick='done.push(1)'>below</button>{far}
         <div id=box style='height:200px;overflow:auto'>{far}<button id=inner onclick='done.push(2)'>inner</button>{far}</div>
         {far}<iframe></iframe>"
    ))
    .await;
    page.eval("done = []; 0").await;
    page.show_in_frame("iframe", &inner).await;
    let framed = page.id("button 'framed'").await;
    let mut clicked = Vec::new();
    for selector in ["#near", "#below", "#inner"] {
        clicked.push(page.id_of(selector).await);
    }
    clicked.push(framed);
    for id in clicked.iter().chain(clicked.iter().rev()) {
        page.ok(&format!("click('{id}')")).await;
    }
    assert_eq!(page.text("done.join('')").await, "01233210");
    browser.stop().await;
}
