// Readies an editable element for new text: "insert" where the text is to be typed over the selection made here, "set" where
// the value was set at once, otherwise what is wrong with the element. `focus` is what focus.js holds.
function (target, text, focus) {
  const element = target instanceof HTMLLabelElement && target.control ? target.control : target;
  const announce = () => {
    element.dispatchEvent(new Event('input', { bubbles: true, composed: true }));
    element.dispatchEvent(new Event('change', { bubbles: true }));
  };
  const isField = element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement;
  if (isField && element.matches(':disabled')) return 'it is disabled';
  if (isField && element.readOnly) return 'it is read-only';
  if (element instanceof HTMLInputElement) {
    const typed = ['', 'text', 'search', 'url', 'tel', 'email', 'password', 'number'];
    const set = ['color', 'date', 'time', 'datetime-local', 'month', 'range', 'week'];
    if (set.includes(element.type)) {
      const value = text.trim();
      const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
      element.focus();
      setter.call(element, value);
      if (element.value !== value && element.type !== 'range' && element.type !== 'color') return `${JSON.stringify(value)} is no value of type ${element.type}`;
      announce();
      return 'set';
    }
    if (!typed.includes(element.type)) return `an input of type ${element.type} takes no text`;
    if (element.type === 'number' && text !== '' && !Number.isFinite(Number(text))) return `${JSON.stringify(text)} is no number`;
  }
  // By the prototypes: if this is a form, its controls hide its own properties by their names.
  const read = (type, name) => Object.getOwnPropertyDescriptor(type.prototype, name).get.call(element);
  if (!isField && !(element instanceof HTMLElement && read(HTMLElement, 'isContentEditable'))) {
    return `<${read(Element, 'localName')}> is neither an input, a textarea nor editable`;
  }
  const wrong = focus(element);
  if (wrong) return wrong;
  if (isField) element.select();
  else getSelection().selectAllChildren(element);
  return 'insert';
}
