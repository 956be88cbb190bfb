// Readies an editable element for new text: "insert" where the text is to be typed over the selection made here, "set" where
// the value was set at once, otherwise what is wrong with the element.
function (text) {
  const element = this instanceof HTMLLabelElement && this.control ? this.control : this;
  const announce = () => {
    element.dispatchEvent(new Event('input', { bubbles: true, composed: true }));
    element.dispatchEvent(new Event('change', { bubbles: true }));
  };
  if (element instanceof HTMLInputElement) {
    const typed = ['', 'text', 'search', 'url', 'tel', 'email', 'password', 'number'];
    const set = ['color', 'date', 'time', 'datetime-local', 'month', 'range', 'week'];
    if (element.disabled) return 'it is disabled';
    if (element.readOnly) return 'it is read-only';
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
    element.focus();
    element.select();
    return 'insert';
  }
  if (element instanceof HTMLTextAreaElement) {
    if (element.disabled) return 'it is disabled';
    if (element.readOnly) return 'it is read-only';
    element.focus();
    element.select();
    return 'insert';
  }
  if (element.isContentEditable) {
    element.focus();
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return 'insert';
  }
  return `<${element.localName}> is neither an input, a textarea nor editable`;
}
