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
