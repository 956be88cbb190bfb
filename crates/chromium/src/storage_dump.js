// What this document's origin has stored, as JSON; database records that JSON cannot hold are left out.
(async () => {
  const MAX_DEPTH = 500;
  // Whether JSON gives the same back. An object that is met again, in a cycle perhaps, would come back as several.
  const isPlain = (value, depth = 0, met = new Set()) => {
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
    if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0);
    if (typeof value !== 'object' || met.has(value) || depth > MAX_DEPTH) return false;
    met.add(value);
    return hasPlainShape(value) && Object.values(value).every((inner) => isPlain(inner, depth + 1, met));
  };
  const hasPlainShape = (object) => {
    if (!Array.isArray(object)) return Object.getPrototypeOf(object) === Object.prototype;
    const keys = Object.keys(object);
    return keys.length === object.length && keys.every((key, i) => key === String(i));
  };
  // Asked for one by one: `Object.keys` leaves out a key that is called `length`.
  const pairs = (storage) => Array.from(storage, (_, i) => storage.key(i)).map((key) => [key, storage.getItem(key)]);
  const ask = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const readStore = async (store) => {
    const [keys, values] = await Promise.all([ask(store.getAllKeys()), ask(store.getAll())]);
    const indexes = [...store.indexNames].map((indexName) => {
      const { name, keyPath, unique, multiEntry } = store.index(indexName);
      return { name, keyPath, unique, multiEntry };
    });
    const records = keys
      .map((key, i) => ({ key, value: values[i] }))
      .filter(({ key, value }) => isPlain(key) && (value === undefined || isPlain(value)));
    return { name: store.name, keyPath: store.keyPath, autoIncrement: store.autoIncrement, indexes, records };
  };
  const readStores = async (database) => {
    const names = [...database.objectStoreNames];
    const stores = names.length ? database.transaction(names) : null;
    return Promise.all(names.map((name) => readStore(stores.objectStore(name))));
  };
  const databases = [];
  for (const { name } of await indexedDB.databases().catch(() => [])) {
    // One that does not open is of no use to the page either.
    const database = await ask(indexedDB.open(name)).catch(() => null);
    if (!database) continue;
    try {
      databases.push({ name, version: database.version, stores: await readStores(database) });
    } finally {
      database.close();
    }
  }
  return JSON.stringify({ local: pairs(localStorage), session: pairs(sessionStorage), databases });
})()
