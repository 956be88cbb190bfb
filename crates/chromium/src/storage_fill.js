// Makes what storage_dump.js read all that this origin has stored. Nothing of it may fail: what is missing would go unnoticed.
async (text) => {
  const { local, session, databases } = JSON.parse(text);
  const replace = (storage, pairs) => {
    storage.clear();
    for (const [key, value] of pairs) storage.setItem(key, value);
  };
  const remove = (name) =>
    new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = resolve;
      request.onerror = () => reject(request.error);
    });
  const addStore = (database, { name: storeName, keyPath, autoIncrement, indexes, records }) => {
    const store = database.createObjectStore(storeName, { keyPath, autoIncrement });
    for (const { name, keyPath, unique, multiEntry } of indexes) store.createIndex(name, keyPath, { unique, multiEntry });
    for (const { key, value } of records) keyPath === null ? store.put(value, key) : store.put(value);
  };
  const add = ({ name, version, stores }) =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(name, version);
      request.onerror = () => reject(request.error);
      request.onupgradeneeded = () => {
        const { result, transaction } = request;
        transaction.onabort = () => reject(transaction.error);
        try {
          for (const store of stores) addStore(result, store);
        } catch (error) {
          reject(error);
        }
      };
      request.onsuccess = () => {
        request.result.close();
        resolve();
      };
    });
  replace(localStorage, local);
  replace(sessionStorage, session);
  for (const { name } of await indexedDB.databases()) await remove(name);
  for (const database of databases) await add(database);
}
