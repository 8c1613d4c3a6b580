// Checks that the server is a cluster node. On a single server, the cluster clients find no slots, and don't say why.

import { connect } from "node:net";

/** End the process, with the reason, if the server at HOST:PORT is not a cluster node. */
export async function mustBeCluster(address) {
  const at = address.lastIndexOf(":");
  const socket = connect({ host: address.slice(0, at), port: Number(address.slice(at + 1)) });
  const said = await new Promise((resolve) => {
    socket.setTimeout(5000, () => resolve(""));
    socket.on("error", () => resolve("")); // the client itself reports this better
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
      if (/cluster_enabled:\d|^-/.test(text)) resolve(text);
    });
    socket.write("INFO cluster\r\n");
  });
  socket.destroy();
  if (said.includes("cluster_enabled:0")) {
    console.error(`${address} is a single server, but this program needs a cluster: see ../README.md`);
    process.exit(1);
  }
}
