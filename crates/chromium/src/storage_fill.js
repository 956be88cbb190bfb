// Writes into this origin what storage_dump.js read.
async ({ local, session, databases }) => {
  for (const [key, value] of local) localStorage.setItem(key, value);
  for (const [key, value] of session) sessionStorage.setItem(key, value);
  for (const { name, version, stores } of databases) {
    await new Promise((resolve, reject) => {
      const request = indexedDB.open(name, version);
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error('blocked'));
      request.onupgradeneeded = () => {
        for (const { name: storeName, keyPath, autoIncrement, indexes, records } of stores) {
          const store = request.result.createObjectStore(storeName, { keyPath, autoIncrement });
          for (const index of indexes) store.createIndex(index.name, index.keyPath, { unique: index.unique, multiEntry: index.multiEntry });
          for (const { key, value } of records) keyPath === null ? store.put(value, key) : store.put(value);
        }
      };
      request.onsuccess = () => {
        request.result.close();
        resolve();
      };
    });
  }
}
