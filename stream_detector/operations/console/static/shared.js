// One stream for all pages of a browser: over HTTP/1.1 it has six connections to a host, and each page would hold one.

import { follow } from "./connection.js";

const ports = new Set();
let token = null;
let begun = false;
let heard = null;

/** What a page needs that comes later than the others: everything, as it stands. */
function remember(name, data) {
  if (name === "beat") {
    if (heard) Object.assign(heard, data);
    return;
  }
  const assets = data.full || !heard ? new Map() : heard.assets;
  for (const asset of data.assets) assets.set(asset.asset, asset);
  if (data.names) {
    const names = new Set(data.names);
    for (const known of assets.keys()) if (!names.has(known)) assets.delete(known);
  }
  const names = data.names ?? heard?.names ?? null;
  heard = { ...heard, ...data, assets, names };
}

const tell = (message) => ports.forEach((port) => port.postMessage(message));

async function begin() {
  begun = true;
  await follow(
    {
      event: (name, data) => {
        remember(name, data);
        tell({ event: name, data });
      },
      down: (error) => {
        heard = null;
        tell({ down: true, status: error?.status ?? null, text: error?.message ?? "" });
      },
      refused: (error) => {
        tell({ refused: error.message });
        ports.clear(); // each page asks for a token and comes again
        begun = false; // perhaps to this worker: with the same token, or where its name does not tell tokens apart
        return new Promise(() => {});
      },
    },
    () => token,
  );
}

addEventListener("connect", ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.bye) {
      ports.delete(port);
      return;
    }
    if (begun && data.token !== token) {
      port.postMessage({ refused: "the token is wrong" });
      return;
    }
    token = data.token;
    ports.add(port);
    if (heard) port.postMessage({ event: "change", data: { ...heard, full: true, assets: [...heard.assets.values()] } });
    if (!begun) begin();
  };
});
