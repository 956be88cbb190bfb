// The in-page half of the observer. Runs once for each document, in an isolated world: the page's scripts can neither see
// nor override anything here, and prototypes are the browser's own. Everything is synchronous and read-only, but for the
// `bid` attribute and the reflected `value` and `checked` of form controls, which are written only where they changed.
//
// Ids follow BrowserGym's rules, so that its agents find the ids that they know: numbers in document order, shadow trees
// right after their host, letters for frames, the frame's id as prefix of what is inside it, and stable once given.
(() => {
  if (globalThis.envfarm) return;

  // The controls of a form hide its properties by their names (`<input name=id>`), in this world too. What may be a form is
  // therefore read by the prototypes' own functions, which take the element first.
  const unbound = (type, name) => {
    const { get, value } = Object.getOwnPropertyDescriptor(type.prototype, name);
    return Function.prototype.call.bind(get || value);
  };
  const own = (type, names) => names.split(" ").map((name) => unbound(type, name));
  const [nodeType, parentNode, parentElement, firstChild, textContent] = own(Node, "nodeType parentNode parentElement firstChild textContent");
  const [contains, isConnected] = own(Node, "contains isConnected");
  const [getAttribute, setAttribute, hasAttribute, removeAttribute] = own(Element, "getAttribute setAttribute hasAttribute removeAttribute");
  const [localName, matches, closest, checkVisibility] = own(Element, "localName matches closest checkVisibility");
  const [children, firstElementChild, nextElementSibling] = own(Element, "children firstElementChild nextElementSibling");
  const [shadowRoot, assignedSlot] = own(Element, "shadowRoot assignedSlot");
  const [getBoundingClientRect, getClientRects] = own(Element, "getBoundingClientRect getClientRects");
  const [clientLeft, clientTop, clientWidth, clientHeight] = own(Element, "clientLeft clientTop clientWidth clientHeight");
  const [scrollWidth, scrollHeight] = own(Element, "scrollWidth scrollHeight");
  const [scrollIntoView, scrollIntoViewIfNeeded] = own(Element, "scrollIntoView scrollIntoViewIfNeeded");
  // What other elements lack, or have from elsewhere.
  const ofHtml = (name) => {
    const read = unbound(HTMLElement, name);
    return (el) => (el instanceof HTMLElement ? read(el) : el[name]);
  };
  const [offsetWidth, offsetHeight] = [ofHtml("offsetWidth"), ofHtml("offsetHeight")];
  const [isContentEditable, tabIndex] = [ofHtml("isContentEditable"), ofHtml("tabIndex")];

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

  // Whether an element has the id found on it by right: its own, or that of an element that is gone and that it stands for.
  function keeps(el, id, prefix, isFrame) {
    const owner = elements.get(id);
    if (owner === el) return id.startsWith(prefix);
    return !(owner && isConnected(owner)) && isOurs(id, prefix, isFrame);
  }

  function mark(el, tag, prefix, now) {
    const isFrame = FRAMES.has(tag);
    let id = getAttribute(el, BID);
    if (id === null || now.has(id) || !keeps(el, id, prefix, isFrame)) {
      id = prefix + (isFrame ? frameLetters(letters++) : numbers++);
      setAttribute(el, BID, id);
    }
    now.set(id, el);
    return id;
  }

  function reflect(el, tag) {
    // An attribute would make an indeterminate progress bar determinate.
    if (!VALUES.has(tag) || (tag === "progress" && !el.hasAttribute("value"))) return;
    const value = el.value;
    // Elements of SVG may have these names, too.
    if (value === undefined) return;
    // An empty attribute would blank a button that is labelled by the browser.
    if (value === "" && tag === "input" && /^(submit|reset)$/.test(el.type) && !el.hasAttribute("value")) return;
    if (el.getAttribute("value") !== String(value)) el.setAttribute("value", value);
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
    return [0, 0, root ? clientWidth(root) : innerWidth, root ? clientHeight(root) : innerHeight];
  }

  // The box that overflow is clipped to: without borders and scrollbars.
  function paddingBox(el, box) {
    const borderLeft = clientLeft(el);
    const borderTop = clientTop(el);
    // Client and offset sizes are rounded, the box is not.
    const end = (edge, offset, start, size) => edge - Math.max(0, (offset === undefined ? start + size : offset) - start - size);
    const right = end(box[2], offsetWidth(el), borderLeft, clientWidth(el));
    return [box[0] + borderLeft, box[1] + borderTop, right, end(box[3], offsetHeight(el), borderTop, clientHeight(el))];
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
    while (found && shadowRoot(found)) {
      const inner = shadowRoot(found).elementFromPoint(x, y);
      if (!inner || inner === found) break;
      found = inner;
    }
    return found;
  }

  function centreIsOn(el, box) {
    const hit = fromPoint((box[0] + box[2]) / 2, (box[1] + box[3]) / 2);
    return hit !== null && (hit === el || contains(el, hit));
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
      this.strays = [];
      this.shares = [];
      this.flagged = new Set();
      this.buttons = new Set();
      this.usable = new Set();
      this.unseen = [];
      this.slots = new Map();
    }

    run() {
      const root = document.documentElement;
      if (root) this.visit(root);
      // Ids that the page wrote itself. Not during the walk: custom elements may answer by changing the page.
      for (const el of this.strays) removeAttribute(el, BID);
      visited = true;
      elements = this.now;
    }

    visit(root) {
      // Rows of siblings still to be visited. A stack of our own: pages may nest deeper than the script's reaches.
      const rows = [{ next: root, up: null, light: true, slotted: false }];
      for (let row = rows[0]; row; row = rows[rows.length - 1]) {
        const el = row.next;
        if (!el) {
          rows.pop();
          continue;
        }
        row.next = nextElementSibling(el);
        const slot = row.slotted && assignedSlot(el);
        const context = this.process(el, (slot && this.slots.get(slot)) || row.up, row.light);
        const shadow = shadowRoot(el);
        const child = firstElementChild(el);
        if (child) rows.push({ next: child, up: context, light: row.light, slotted: shadow !== null });
        if (shadow) rows.push({ next: shadow.firstElementChild, up: context, light: false, slotted: false });
      }
    }

    process(el, up, light) {
      const tag = localName(el).toLowerCase();
      const index = light ? this.index++ : -1;
      const marked = MARKED.has(tag);
      let id = null;
      if (marked) {
        reflect(el, tag);
        id = mark(el, tag, this.prefix, this.now);
        if (SILENT.has(tag) && isSilent(el, tag)) this.silent.push(id);
      } else if (hasAttribute(el, BID)) {
        this.strays.push(el);
      }
      const isFrame = FRAMES.has(tag);
      if (!this.geometry && !this.operable) {
        if (isFrame) this.frames.push([id, mayRun(el), null]);
        return null;
      }
      const box = boxOf(getBoundingClientRect(el));
      const bare = box[0] === 0 && box[1] === 0 && box[2] === 0 && box[3] === 0 && getClientRects(el).length === 0;
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
      const inner = bare ? bounds : areaOf(box) === 0 ? box : clientWidth(el) || clientHeight(el) ? paddingBox(el, box) : bounds;
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
      const handles = hasAttribute(el, "onclick") || (this.onclick !== null && this.onclick.has(index));
      let pointer = null;
      const hasPointer = () => (pointer === null ? (pointer = getComputedStyle(el).cursor === "pointer") : pointer);
      const flag = this.geometry && area >= 20 && (ALWAYS_MARKS.has(tag) || handles || hasPointer());
      const use = this.operable && (handles || invites(el, tag) || (hasPointer() && !inheritsPointer(el)));
      if ((!flag && !use) || !centreIsOn(el, box)) return;
      if (flag) this.flag(el);
      if (use) this.use(el);
    }

    flag(el) {
      for (let parent = parentElement(el); parent; parent = parentElement(parent)) if (this.buttons.has(parent)) return;
      const parent = parentElement(el);
      if (parent && localName(parent) === "span" && children(parent).length === 1 && getAttribute(parent, "role") && this.flagged.has(parent)) return;
      this.flagged.add(el);
      if (matches(el, 'button, a, input[type="button"], div[role="button"]')) this.buttons.add(el);
      for (let up = parent; up; up = parentElement(up)) this.flagged.delete(up);
    }

    use(el) {
      // Of nested ones the innermost stands for all.
      for (let up = parentElement(el); up; up = parentElement(up)) this.usable.delete(up);
      this.usable.add(el);
    }
  }

  function isSilent(el, tag) {
    if (firstElementChild(el) !== null && tag !== "svg") return false;
    if (tag === "img" && getAttribute(el, "alt") !== "") return false;
    if (firstChild(el) !== null && tag !== "svg" && /\S/.test(textContent(el))) return false;
    return checkVisibility(el, { visibilityProperty: true }) && closest(el, '[aria-hidden="true"]') === null;
  }

  function invites(el, tag) {
    if (OPERABLE_TAGS.has(tag)) return tag !== "input" || el.type !== "hidden";
    if (tag === "label") return Boolean(el.control) && !el.control.disabled;
    const role = getAttribute(el, "role");
    if (role !== null && OPERABLE_ROLES.has(role.toLowerCase())) return true;
    if (isContentEditable(el)) return !parentElement(el) || !isContentEditable(parentElement(el));
    return hasAttribute(el, "tabindex") && tabIndex(el) >= 0;
  }

  const inheritsPointer = (el) => parentElement(el) !== null && getComputedStyle(parentElement(el)).cursor === "pointer";

  // A <frame> has no sandbox, whatever attributes it has.
  const mayRun = (frame) => !frame.sandbox || !hasAttribute(frame, "sandbox") || frame.sandbox.contains("allow-scripts");

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
    while (at && shadowRoot(at) && shadowRoot(at).activeElement) at = shadowRoot(at).activeElement;
    return (at && getAttribute(at, BID)) || "";
  }

  function pageFacts() {
    const root = document.scrollingElement || document.documentElement;
    return {
      title: document.title,
      scroll: [scrollX, scrollY],
      size: root ? [scrollWidth(root), scrollHeight(root)] : [0, 0],
      inner: [innerWidth, innerHeight],
    };
  }

  // ---- Targets of actions -----------------------------------------------------------------------------------------

  function find(id) {
    let el = elements.get(id);
    if (el && isConnected(el) && getAttribute(el, BID) === id) return el;
    // A clone may carry the id of an element that is gone.
    el = document.querySelector(`[${BID}="${CSS.escape(id)}"]`);
    return el && elements.has(id) ? el : null;
  }

  const isElement = (node) => nodeType(node) === Node.ELEMENT_NODE;
  const composedParent = (node) => (isElement(node) ? assignedSlot(node) || parentNode(node) : node.host || null);

  function holds(el, hit) {
    for (let at = hit; at; at = composedParent(at)) if (at === el) return true;
    return false;
  }

  function describe(el) {
    const id = getAttribute(el, BID);
    const name = ["id", "class"].find((attribute) => getAttribute(el, attribute));
    const named = name ? ` ${name}="${getAttribute(el, name).slice(0, 40)}"` : "";
    return `${id === null ? "" : `[${id}] `}<${localName(el)}${named}>`;
  }

  function isEditable(el) {
    if (isContentEditable(el)) return true;
    const tag = localName(el);
    if (tag === "select") return !matches(el, ":disabled");
    if (tag !== "textarea" && tag !== "input") return false;
    if (tag === "input" && /^(button|checkbox|radio|submit|reset|image|file|hidden)$/.test(el.type)) return false;
    return !el.readOnly && !matches(el, ":disabled");
  }

  // Where a click on the element goes: the middle of the first of its boxes that shows.
  function pointOf(el) {
    const screen = viewport();
    for (const rect of getClientRects(el)) {
      const part = meet(boxOf(rect), screen);
      if (!isEmpty(part) && areaOf(part) > 0.99) return [(part[0] + part[2]) / 2, (part[1] + part[3]) / 2];
    }
    return null;
  }

  function scrollsSmoothly(el) {
    for (let at = el; at; at = composedParent(at)) if (isElement(at) && getComputedStyle(at).scrollBehavior === "smooth") return true;
    return false;
  }

  // Brings an element into view at once, even where the page would rather glide there: its place is read next.
  function reveal(el) {
    if (!scrollsSmoothly(el)) return scrollIntoViewIfNeeded(el, true);
    const [left, top, right, bottom] = boxOf(getBoundingClientRect(el));
    const screen = viewport();
    const align = (start, end, size) => (end <= 0 || start >= size ? "center" : "nearest");
    scrollIntoView(el, { block: align(top, bottom, screen[3]), inline: align(left, right, screen[2]), behavior: "instant" });
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
        facts.flagged = Array.from(walk.flagged, (el) => getAttribute(el, BID)).join(" ");
      }
      if (operable) {
        facts.usable = Array.from(walk.usable, (el) => getAttribute(el, BID)).join(" ");
        facts.unseen = walk.unseen.join(" ");
      }
      return facts;
    },

    facts: pageFacts,
    find,

    // Takes all ids back and counts from the start again, for an episode that begins in the same document.
    forget() {
      for (const el of elements.values()) removeAttribute(el, BID);
      elements = new Map();
      numbers = letters = 0;
      visited = false;
    },

    // What an action has to know of its element, after bringing it into view; null if there is none.
    target(id, scroll) {
      const el = find(id);
      if (!el) return null;
      if (scroll) reveal(el);
      const point = pointOf(el);
      const hit = point && fromPoint(point[0], point[1]);
      return {
        point,
        visible: point !== null && checkVisibility(el, { visibilityProperty: true }),
        enabled: !matches(el, ":disabled") && closest(el, '[aria-disabled="true"]') === null,
        editable: isEditable(el),
        covered: hit && !holds(el, hit) ? describe(hit) : null,
      };
    },

    // A point of the frame in element `id`, in this frame's pixels, brought into view; null if the frame is gone.
    outward(id, x, y) {
      const frame = find(id);
      if (!frame) return null;
      const place = () => {
        const [left, top, scale] = contentOrigin(frame, boxOf(getBoundingClientRect(frame)));
        return [left + x * scale, top + y * scale];
      };
      let point = place();
      const screen = viewport();
      if (point[0] < 0 || point[1] < 0 || point[0] >= screen[2] || point[1] >= screen[3]) {
        reveal(frame);
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
