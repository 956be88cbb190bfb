// Selects options of a <select> by value or label, as a person would: the change is announced once. True, or what is wrong.
function (wanted) {
  const select = this instanceof HTMLLabelElement && this.control ? this.control : this;
  if (!(select instanceof HTMLSelectElement)) return `<${select.localName}> is no <select>`;
  if (select.disabled) return 'the <select> is disabled';
  if (wanted.length > 1 && !select.multiple) return 'only one option can be selected here';
  const clean = (text) => text.replace(/\s+/g, ' ').trim();
  const options = [...select.options];
  const chosen = [];
  for (const name of wanted) {
    const option = options.find((o) => o.value === name) ?? options.find((o) => clean(o.label) === clean(name));
    if (!option) return `no option ${JSON.stringify(name)}: there are ${JSON.stringify(options.slice(0, 20).map((o) => clean(o.label)))}`;
    if (option.disabled) return `option ${JSON.stringify(name)} is disabled`;
    chosen.push(option);
  }
  select.focus();
  for (const option of options) option.selected = chosen.includes(option);
  select.dispatchEvent(new Event('input', { bubbles: true, composed: true }));
  select.dispatchEvent(new Event('change', { bubbles: true }));
  return true;
}
