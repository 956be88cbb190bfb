// The document as text: URL without origin (a task's server may listen on another port tomorrow), tags, attributes, texts and
// form values; scripts, styles and the farm's own marks left out.
(() => {
  const skipped = new Set(['SCRIPT', 'STYLE', 'LINK', 'META', 'NOSCRIPT']);
  const ours = (name) => name === 'bid' || name.startsWith('browsergym_');
  const out = [location.protocol.startsWith('http') ? location.pathname + location.search + location.hash : location.href];
  const stack = [document.documentElement];
  while (stack.length) {
    const node = stack.pop();
    if (typeof node === 'string') {
      out.push(node);
      continue;
    }
    if (node.nodeType === Node.TEXT_NODE) {
      const text = node.data.trim();
      if (text) out.push(JSON.stringify(text));
      continue;
    }
    if (node.nodeType !== Node.ELEMENT_NODE && node.nodeType !== Node.DOCUMENT_FRAGMENT_NODE) continue;
    if (skipped.has(node.nodeName)) continue;
    if (node.nodeType === Node.ELEMENT_NODE) {
      // The marks write a control's value into its attribute; the live value counts, the attribute does not.
      const live = 'value' in node || 'checked' in node;
      const attributes = [...node.attributes]
        .filter(({ name }) => !ours(name) && !(live && (name === 'value' || name === 'checked')))
        .map(({ name, value }) => `${name}=${value}`)
        .sort();
      if (live) attributes.push(`:${node.value}:${node.checked === true}`);
      out.push(`<${node.localName} ${attributes.join(' ')}>`);
      stack.push('</>');
      if (node.shadowRoot) stack.push(node.shadowRoot);
    }
    for (let child = node.lastChild; child; child = child.previousSibling) stack.push(child);
  }
  return out.join('\n');
})()
