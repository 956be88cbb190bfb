// The in-page half of the observer. Runs once for each document, in an isolated world: the page's scripts can neither see
// nor override anything here, and prototypes are the browser's own. Everything is synchronous and read-only, but for the
// `bid` attribute and the reflected `value` and `checked` of form controls, which are written only where they changed.
//
// Ids follow BrowserGym's rules, so that its agents find the ids that they know: numbers in document order, shadow trees
// right after their host, letters for frames, the frame's id as prefix of what is inside it, and stable once given.
(() => {
  if (globalThis.envfarm) return;

  const BID = "bid";
  const set = (words) => new Set(words.split(" "));
  // Elements that get an id: standard HTML, and svg as a whole.
  const MARKED = set(
    "html head title base link meta style script noscript template body header footer main nav aside section article search " +
      "address hgroup h1 h2 h3 h4 h5 h6 p hr pre blockquote ol ul menu dir li dl dt dd figure figcaption div center " +
      "a abbr acronym b bdi bdo big br cite code data del dfn em font i ins kbd mark q rp rt ruby s samp small span strike " +
      "strong sub sup time tt u var wbr area audio img map track video picture source canvas svg " +
      "applet embed object param iframe frame frameset noframes " +
      "table caption col colgroup thead tbody tfoot tr th td " +
      "form fieldset legend label input button select datalist optgroup option textarea output progress meter " +
      "details summary dialog basefont",
  );
  const FRAMES = set("iframe frame");
  // Elements that a set-of-marks picture marks whatever their style.
  const ALWAYS_MARKS = set("input textarea select button a iframe video li td option");
  // Controls whose live value the markup does not show. Not li, whose value would renumber its list.
  const VALUES = set("button data input meter option output param progress select textarea");
  // Elements that the accessibility tree leaves out while they say nothing, and that BrowserGym's marks bring back.
  const SILENT = set("a acronym b bdi bdo big canvas cite data font i img kbd picture samp small source span strike svg tt u var");
  const OPERABLE_TAGS = set("a button details embed iframe input object select summary textarea video");
  const OPERABLE_ROLES = set(
    "button checkbox combobox link menuitem menuitemcheckbox menuitemradio option radio searchbox slider spinbutton switch tab textbox treeitem",
  );

  const TINY = 16;

  let numbers = 0;
  let letters = 0;
  let visited = false;
  let elements = new Map();

  function frameLetters(n) {
    let length = 1;
    for (let size = 26; n >= size; size *= 26) {
      n -= size;
      length++;
    }
    let text = "";
    for (let i = 0; i < length; i++) {
      // Only the first letter is small, so that the ids of nested frames can be told apart: a, aA, bCD.
      text = String.fromCharCode((i === length - 1 ? 97 : 65) + (n % 26)) + text;
      n = Math.floor(n / 26);
    }
    return text;
  }

  // Whether an id found on an element was given by us (a clone of a marked element brings one along).
  function isOurs(id, prefix, isFrame) {
    if (!visited || !id.startsWith(prefix)) return false;
    const local = id.slice(prefix.length);
    return isFrame ? /^[a-z][A-Z]*$/.test(local) : /^\d+$/.test(local) && Number(local) < numbers;
  }

  function mark(el, tag, prefix, now) {
    const isFrame = FRAMES.has(tag);
    let id = el.getAttribute(BID);
    if (id === null || now.has(id) || (elements.get(id) !== el && !isOurs(id, prefix, isFrame))) {
      id = prefix + (isFrame ? frameLetters(letters++) : numbers++);
      el.setAttribute(BID, id);
    }
    now.set(id, el);
    return id;
  }

  function reflect(el, tag) {
    // An attribute would make an indeterminate progress bar determinate.
    if (!VALUES.has(tag) || (tag === "progress" && !el.hasAttribute("value"))) return;
    const value = el.value;
    // An empty attribute would blank a button that is labelled by the browser.
    if (value === "" && tag === "input" && /^(submit|reset)$/.test(el.type) && !el.hasAttribute("value")) return;
    if (value !== undefined && el.getAttribute("value") !== String(value)) el.setAttribute("value", value);
    if (tag === "input" && el.checked !== el.hasAttribute("checked")) el.toggleAttribute("checked", el.checked);
  }

  // ---- Geometry: boxes are [left, top, right, bottom] in CSS pixels of this frame's viewport --------------------------

  const boxOf = (rect) => [rect.left, rect.top, rect.right, rect.bottom];
  const inside = (a, b) => a[0] >= b[0] && a[1] >= b[1] && a[2] <= b[2] && a[3] <= b[3];
  const meet = (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
  const isEmpty = (box) => box[2] < box[0] || box[3] < box[1];
  const areaOf = (box) => (isEmpty(box) ? 0 : (box[2] - box[0]) * (box[3] - box[1]));

  function viewport() {
    // Without scrollbars.
    const root = document.compatMode === "BackCompat" && document.body ? document.body : document.documentElement;
    return [0, 0, root ? root.clientWidth : innerWidth, root ? root.clientHeight : innerHeight];
  }

  // The box that overflow is clipped to: without borders and scrollbars.
  function paddingBox(el, box) {
    const left = box[0] + el.clientLeft;
    const top = box[1] + el.clientTop;
    // Client and offset sizes are rounded, the box is not.
    const end = (edge, offset, start, size) => edge - Math.max(0, (offset === undefined ? start + size : offset) - start - size);
    return [left, top, end(box[2], el.offsetWidth, el.clientLeft, el.clientWidth), end(box[3], el.offsetHeight, el.clientTop, el.clientHeight)];
  }

  // What an element with `clip` or `clip-path` shows of itself, as far as these serve to hide it from the eye only.
  function ownClip(style, box) {
    if (style.clip !== "auto" && /^(absolute|fixed)$/.test(style.position)) {
      const sides = style.clip.match(/-?[\d.]+(?=px)|auto/g) || [];
      const at = (i, fallback) => (sides[i] === undefined || sides[i] === "auto" ? fallback : parseFloat(sides[i]));
      const width = box[2] - box[0];
      const height = box[3] - box[1];
      return [box[0] + at(3, 0), box[1] + at(0, 0), box[0] + at(1, width), box[1] + at(2, height)];
    }
    return /^inset\((50|100)%/.test(style.clipPath) ? [box[0], box[1], box[0], box[1]] : null;
  }

  // What an ancestor does to what it contains; computed only when a descendant sticks out of it.
  function stylesOf(context) {
    if (context.styles) return context.styles;
    const { el, box } = context;
    const style = getComputedStyle(el);
    const inline = style.display === "inline" || style.display === "contents";
    const clips = (overflow) => overflow !== "visible";
    const moves =
      style.transform !== "none" || style.filter !== "none" || style.perspective !== "none" || /paint|strict|content/.test(style.contain);
    let x = clips(style.overflowX);
    let y = clips(style.overflowY);
    // The overflow of the root, or else of the body, is the viewport's.
    if (el === document.documentElement || (el === document.body && getComputedStyle(document.documentElement).overflowX === "visible")) {
      x = y = false;
    }
    const paints = /paint|strict|content/.test(style.contain);
    x = (x || paints) && !inline;
    y = (y || paints) && !inline;
    context.styles = {
      position: style.position,
      holdsFixed: moves,
      holdsAbsolute: moves || style.position !== "static",
      clip: box && (x || y) ? limit(paddingBox(el, box), x, y) : null,
      own: box && ownClip(style, box),
    };
    return context.styles;
  }

  const limit = (box, x, y) => [x ? box[0] : -Infinity, y ? box[1] : -Infinity, x ? box[2] : Infinity, y ? box[3] : Infinity];

  function visiblePart(el, box, context, view) {
    let part = meet(box, view);
    if (isEmpty(part)) return part;
    const style = getComputedStyle(el);
    const own = ownClip(style, box);
    if (own) part = meet(part, own);
    let position = style.position;
    for (let c = context; c; c = c.up) {
      const styles = stylesOf(c);
      if ((position === "fixed" && !styles.holdsFixed) || (position === "absolute" && !styles.holdsAbsolute)) continue;
      if (styles.clip) part = meet(part, styles.clip);
      if (styles.own) part = meet(part, styles.own);
      if (isEmpty(part)) return part;
      position = styles.position;
    }
    return part;
  }

  function fromPoint(x, y) {
    let found = document.elementFromPoint(x, y);
    while (found && found.shadowRoot) {
      const inner = found.shadowRoot.elementFromPoint(x, y);
      if (!inner || inner === found) break;
      found = inner;
    }
    return found;
  }

  function centreIsOn(el, box) {
    const hit = fromPoint((box[0] + box[2]) / 2, (box[1] + box[3]) / 2);
    return hit !== null && (hit === el || el.contains(hit));
  }

  // ---- The walk ---------------------------------------------------------------------------------------------------

  class Walk {
    constructor(prefix, geometry, operable, onclick, clip) {
      this.prefix = prefix;
      this.geometry = geometry;
      this.operable = operable;
      this.onclick = onclick ? new Set(onclick) : null;
      this.index = 0;
      this.view = clip ? meet(clip, viewport()) : viewport();
      this.screen = viewport();
      this.now = new Map();
      this.frames = [];
      this.silent = [];
      this.shares = [];
      this.flagged = new Set();
      this.buttons = new Set();
      this.usable = new Set();
      this.unseen = [];
      this.slots = new Map();
    }

    run() {
      const root = document.documentElement;
      if (root) this.visit(root, null, true);
      visited = true;
      elements = this.now;
    }

    visit(el, up, light) {
      // Deep documents must not overflow the stack: children are iterated, only depth recurses.
      const context = this.process(el, up, light);
      if (el.shadowRoot) {
        for (let child = el.shadowRoot.firstElementChild; child; child = child.nextElementSibling) this.visit(child, context, false);
      }
      for (let child = el.firstElementChild; child; child = child.nextElementSibling) {
        const slot = el.shadowRoot && child.assignedSlot;
        this.visit(child, (slot && this.slots.get(slot)) || context, light);
      }
    }

    process(el, up, light) {
      const tag = el.localName.toLowerCase();
      const index = light ? this.index++ : -1;
      const marked = MARKED.has(tag);
      let id = null;
      if (marked) {
        reflect(el, tag);
        id = mark(el, tag, this.prefix, this.now);
        if (SILENT.has(tag) && isSilent(el, tag)) this.silent.push(id);
      }
      const isFrame = FRAMES.has(tag);
      if (!this.geometry && !this.operable) {
        if (isFrame) this.frames.push([id, mayRun(el), null]);
        return null;
      }
      const box = boxOf(el.getBoundingClientRect());
      const bare = box[0] === 0 && box[1] === 0 && box[2] === 0 && box[3] === 0 && el.getClientRects().length === 0;
      const bounds = up ? up.bounds : this.view;
      let part = box;
      let share = 0;
      if (!bare && (marked || isFrame)) {
        // Tiny boxes are often those that hide from the eye only.
        if (!inside(box, bounds) || areaOf(box) <= TINY) part = visiblePart(el, box, up, this.view);
        if (!isEmpty(part)) {
          const area = areaOf(box);
          share = area > 0 ? areaOf(part) / area : 1;
        }
      }
      if (marked) {
        if (this.geometry) this.shares.push(Math.round(share * 100));
        if (!bare) this.weigh(el, id, tag, box, index);
      }
      if (isFrame) this.frames.push([id, mayRun(el), bare ? [0, 0, 0, 0] : innerClip(el, box, part)]);
      // Whatever stays within all these boxes cannot be clipped by any of them; only the rest is worth a look at styles.
      const inner = bare ? bounds : areaOf(box) === 0 ? box : el.clientWidth || el.clientHeight ? paddingBox(el, box) : bounds;
      const context = { el, up, box: bare ? null : box, bounds: inner === bounds ? bounds : meet(inner, bounds), styles: null };
      if (tag === "slot") this.slots.set(el, context);
      return context;
    }

    // Whether the element can be clicked at its centre, and looks as if it wanted to be.
    weigh(el, id, tag, box, index) {
      const area = areaOf(box);
      const x = (box[0] + box[2]) / 2;
      const y = (box[1] + box[3]) / 2;
      if (area < 1 || x < 0 || y < 0 || x > this.screen[2] + 20 || y > this.screen[3] + 20) return;
      if (this.operable && getComputedStyle(el).visibility !== "visible") {
        this.unseen.push(id);
        return;
      }
      const handles = el.hasAttribute("onclick") || (this.onclick !== null && this.onclick.has(index));
      let pointer = null;
      const hasPointer = () => (pointer === null ? (pointer = getComputedStyle(el).cursor === "pointer") : pointer);
      const flag = this.geometry && area >= 20 && (ALWAYS_MARKS.has(tag) || handles || hasPointer());
      const use = this.operable && (handles || invites(el, tag) || (hasPointer() && !inheritsPointer(el)));
      if ((!flag && !use) || !centreIsOn(el, box)) return;
      if (flag) this.flag(el);
      if (use) this.use(el);
    }

    flag(el) {
      for (let parent = el.parentElement; parent; parent = parent.parentElement) if (this.buttons.has(parent)) return;
      const parent = el.parentElement;
      if (parent && parent.localName === "span" && parent.children.length === 1 && parent.getAttribute("role") && this.flagged.has(parent)) return;
      this.flagged.add(el);
      if (el.matches('button, a, input[type="button"], div[role="button"]')) this.buttons.add(el);
      for (let up = parent; up; up = up.parentElement) this.flagged.delete(up);
    }

    use(el) {
      // Of nested ones the innermost stands for all.
      for (let up = el.parentElement; up; up = up.parentElement) this.usable.delete(up);
      this.usable.add(el);
    }
  }

  function isSilent(el, tag) {
    if (el.firstElementChild !== null && tag !== "svg") return false;
    if (tag === "img" && el.getAttribute("alt") !== "") return false;
    const first = el.firstChild;
    if (first !== null && tag !== "svg" && /\S/.test(el.textContent)) return false;
    return el.checkVisibility({ visibilityProperty: true }) && el.closest('[aria-hidden="true"]') === null;
  }

  function invites(el, tag) {
    if (OPERABLE_TAGS.has(tag)) return tag !== "input" || el.type !== "hidden";
    if (tag === "label") return el.control !== null && !el.control.disabled;
    const role = el.getAttribute("role");
    if (role !== null && OPERABLE_ROLES.has(role.toLowerCase())) return true;
    if (el.isContentEditable) return !el.parentElement || !el.parentElement.isContentEditable;
    return el.hasAttribute("tabindex") && el.tabIndex >= 0;
  }

  const inheritsPointer = (el) => el.parentElement !== null && getComputedStyle(el.parentElement).cursor === "pointer";

  const mayRun = (frame) => !frame.hasAttribute("sandbox") || frame.sandbox.contains("allow-scripts");

  function contentOrigin(frame, box) {
    const style = getComputedStyle(frame);
    const scale = frame.offsetWidth ? (box[2] - box[0]) / frame.offsetWidth : 1;
    const left = box[0] + (frame.clientLeft + parseFloat(style.paddingLeft)) * scale;
    const top = box[1] + (frame.clientTop + parseFloat(style.paddingTop)) * scale;
    return [left, top, scale || 1];
  }

  // The part of a frame's viewport that shows, in the frame's own pixels.
  function innerClip(frame, box, part) {
    if (isEmpty(part)) return [0, 0, -1, -1];
    const [left, top, scale] = contentOrigin(frame, box);
    return [(part[0] - left) / scale, (part[1] - top) / scale, (part[2] - left) / scale, (part[3] - top) / scale];
  }

  function focused() {
    let at = document.activeElement;
    while (at && at.shadowRoot && at.shadowRoot.activeElement) at = at.shadowRoot.activeElement;
    return (at && at.getAttribute(BID)) || "";
  }

  function pageFacts() {
    const root = document.scrollingElement || document.documentElement;
    return {
      title: document.title,
      scroll: [scrollX, scrollY],
      size: root ? [root.scrollWidth, root.scrollHeight] : [0, 0],
      inner: [innerWidth, innerHeight],
    };
  }

  // ---- Targets of actions -----------------------------------------------------------------------------------------

  function find(id) {
    let el = elements.get(id);
    if (el && el.isConnected && el.getAttribute(BID) === id) return el;
    // A clone may carry the id of an element that is gone.
    el = document.querySelector(`[${BID}="${CSS.escape(id)}"]`);
    return el && elements.has(id) ? el : null;
  }

  const composedParent = (node) => node.assignedSlot || node.parentNode || node.host || null;

  function holds(el, hit) {
    for (let at = hit; at; at = composedParent(at)) if (at === el) return true;
    return false;
  }

  function describe(el) {
    const id = el.getAttribute(BID);
    const parts = [id === null ? "" : `[${id}] `, "<", el.localName];
    if (el.id) parts.push(` id="${el.id.slice(0, 40)}"`);
    else if (el.getAttribute("class")) parts.push(` class="${el.getAttribute("class").slice(0, 40)}"`);
    return parts.join("") + ">";
  }

  function isEditable(el) {
    if (el.isContentEditable) return true;
    const tag = el.localName;
    if (tag === "select") return !el.matches(":disabled");
    if (tag !== "textarea" && tag !== "input") return false;
    if (tag === "input" && /^(button|checkbox|radio|submit|reset|image|file|hidden)$/.test(el.type)) return false;
    return !el.readOnly && !el.matches(":disabled");
  }

  // Where a click on the element goes: the middle of the first of its boxes that shows.
  function pointOf(el) {
    const screen = viewport();
    for (const rect of el.getClientRects()) {
      const part = meet(boxOf(rect), screen);
      if (!isEmpty(part) && areaOf(part) > 0.99) return [(part[0] + part[2]) / 2, (part[1] + part[3]) / 2];
    }
    return null;
  }

  globalThis.envfarm = {
    // Gives ids; `geometry` adds shares and flags, `operable` the list of what can be operated. `onclick` are the positions,
    // in document order, of elements with a handler set by script, which only the page's own world can see. `clip` is the
    // part of this frame that its ancestors show.
    mark(prefix, geometry, operable, onclick, clip) {
      const walk = new Walk(prefix, geometry, operable, onclick, clip);
      walk.run();
      const facts = pageFacts();
      facts.focus = focused();
      facts.frames = walk.frames;
      facts.silent = walk.silent.join(" ");
      if (geometry) {
        facts.ids = [...walk.now.keys()].join(" ");
        facts.shares = walk.shares.join(" ");
        facts.flagged = Array.from(walk.flagged, (el) => el.getAttribute(BID)).join(" ");
      }
      if (operable) {
        facts.usable = Array.from(walk.usable, (el) => el.getAttribute(BID)).join(" ");
        facts.unseen = walk.unseen.join(" ");
      }
      return facts;
    },

    facts: pageFacts,
    find,

    // Takes all ids back and counts from the start again, for an episode that begins in the same document.
    forget() {
      for (const el of elements.values()) el.removeAttribute(BID);
      elements = new Map();
      numbers = letters = 0;
      visited = false;
    },

    // What an action has to know of its element, after bringing it into view; null if there is none.
    target(id, scroll) {
      const el = find(id);
      if (!el) return null;
      if (scroll) el.scrollIntoViewIfNeeded(true);
      const point = pointOf(el);
      const hit = point && fromPoint(point[0], point[1]);
      return {
        point,
        tag: el.localName,
        type: el.localName === "input" ? el.type : null,
        visible: point !== null && el.checkVisibility({ visibilityProperty: true }),
        enabled: !el.matches(":disabled") && el.closest('[aria-disabled="true"]') === null,
        editable: isEditable(el),
        checked: typeof el.checked === "boolean" ? el.checked : el.hasAttribute("aria-checked") ? el.getAttribute("aria-checked") === "true" : null,
        covered: hit && !holds(el, hit) ? describe(hit) : null,
      };
    },

    // A point of the frame in element `id`, in this frame's pixels, brought into view; null if the frame is gone.
    outward(id, x, y) {
      const frame = find(id);
      if (!frame) return null;
      const place = () => {
        const [left, top, scale] = contentOrigin(frame, boxOf(frame.getBoundingClientRect()));
        return [left + x * scale, top + y * scale];
      };
      let point = place();
      const screen = viewport();
      if (point[0] < 0 || point[1] < 0 || point[0] >= screen[2] || point[1] >= screen[3]) {
        frame.scrollIntoViewIfNeeded(true);
        point = place();
        if (point[0] < 0 || point[1] < 0 || point[0] >= screen[2] || point[1] >= screen[3]) {
          scrollBy({ left: point[0] - screen[2] / 2, top: point[1] - screen[3] / 2, behavior: "instant" });
          point = place();
        }
      }
      const hit = fromPoint(point[0], point[1]);
      return { point, covered: hit && hit !== frame ? describe(hit) : null };
    },
  };
})();
