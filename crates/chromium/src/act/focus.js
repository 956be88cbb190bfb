// Gives an element the focus. Null, or what is wrong: the focus is elsewhere then, and so would be whatever is typed.
function (element) {
  // Read by the prototypes: the controls of a form hide its own properties by their names.
  const read = (type, name, el) => Object.getOwnPropertyDescriptor(type.prototype, name).get.call(el);
  const parent = (node) => read(Node, 'parentNode', node) ?? node.host ?? null;
  const isEditable = (el) => el instanceof HTMLElement && read(HTMLElement, 'isContentEditable', el);
  const holds = (outer, inner) => {
    for (let at = inner; at; at = parent(at)) if (at === outer) return true;
    return false;
  };
  const focused = () => {
    let at = document.activeElement;
    for (let tree; at && (tree = read(Element, 'shadowRoot', at)) && tree.activeElement; ) at = tree.activeElement;
    return at;
  };
  // A part of editable text has the focus where the text as a whole has it.
  const has = (at) => holds(element, at) || (isEditable(element) && isEditable(at) && holds(at, element));
  const focus = (el) => [HTMLElement, SVGElement, MathMLElement].find((type) => el instanceof type)?.prototype.focus.call(el);

  focus(element);
  if (!has(focused()) && isEditable(element)) {
    let whole = element;
    while (isEditable(parent(whole))) whole = parent(whole);
    focus(whole);
  }
  const at = focused();
  if (has(at)) return null;
  const hidden = Element.prototype.checkVisibility.call(element, { visibilityProperty: true }) ? '' : ', since it is hidden';
  const id = at && Element.prototype.getAttribute.call(at, 'bid');
  return `it does not take the focus${hidden}${id ? `: that is at [${id}] <${read(Element, 'localName', at)}>` : ''}`;
}
