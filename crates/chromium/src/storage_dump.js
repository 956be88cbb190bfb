// What this document's origin has stored, and how far the page is scrolled; null for a document without an origin.
// Database values that JSON cannot hold are left out.
(async () => {
  if (location.origin === 'null' || !/^https?:/.test(location.origin)) return null;
  const pairs = (storage) => Object.keys(storage).map((key) => [key, storage.getItem(key)]);
  const ask = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error('blocked'));
    });
  const databases = [];
  for (const { name, version } of await indexedDB.databases().catch(() => [])) {
    const database = await ask(indexedDB.open(name)).catch(() => null);
    if (!database) continue;
    const stores = [];
    for (const storeName of database.objectStoreNames) {
      const store = database.transaction(storeName).objectStore(storeName);
      const [keys, values] = [await ask(store.getAllKeys()), await ask(store.getAll())];
      const indexes = [...store.indexNames].map((indexName) => {
        const { keyPath, unique, multiEntry } = store.index(indexName);
        return { name: indexName, keyPath, unique, multiEntry };
      });
      stores.push({
        name: storeName,
        keyPath: store.keyPath,
        autoIncrement: store.autoIncrement,
        indexes,
        records: keys.map((key, i) => ({ key, value: values[i] })).filter(({ value }) => value === undefined || JSON.stringify(value) !== undefined),
      });
    }
    database.close();
    databases.push({ name, version, stores });
  }
  return {
    origin: location.origin,
    local: pairs(localStorage),
    session: pairs(sessionStorage),
    databases,
    scroll: [scrollX, scrollY],
  };
})()
