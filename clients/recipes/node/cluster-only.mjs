// These programs are for a cluster: its clients find no slots on a single server, and don't say why.

import { connect } from "node:net";

/** End the process, with the reason, where the server at HOST:PORT says that it is no node of a cluster. */
export async function mustBeCluster(address) {
  const at = address.lastIndexOf(":");
  const socket = connect({ host: address.slice(0, at), port: Number(address.slice(at + 1)) });
  const said = await new Promise((resolve) => {
    socket.setTimeout(5000, () => resolve(""));
    socket.on("error", () => resolve("")); // the client itself says so better
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
      if (/cluster_enabled:\d|^-/.test(text)) resolve(text);
    });
    socket.write("INFO cluster\r\n");
  });
  socket.destroy();
  if (said.includes("cluster_enabled:0")) {
    console.error(`${address} is a single server, and this program is for a cluster only: see ../README.md`);
    process.exit(1);
  }
}
