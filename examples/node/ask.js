// Ask one question: node --experimental-websocket ask.js "hello"
// CLOUDIA_API_URL, CLOUDIA_WEBSOCKET_URL and CLOUDIA_TOKEN say where, and as whom.

import { Client } from "./client.js";

const { CLOUDIA_API_URL: apiUrl, CLOUDIA_WEBSOCKET_URL: websocketUrl, CLOUDIA_TOKEN: token } = process.env;
const [content] = process.argv.slice(2);
if (!(apiUrl && websocketUrl && token && content)) {
  console.error('usage: CLOUDIA_API_URL=… CLOUDIA_WEBSOCKET_URL=… CLOUDIA_TOKEN=… node --experimental-websocket ask.js "hello"');
  process.exit(2);
}

const client = new Client({ apiUrl, websocketUrl, token: () => token, onState: (state) => console.error(state) });
let shown = ""; // what stands on the terminal; what is void by now cannot be taken back, so it begins on a new line
const show = (text) => {
  if (!text.startsWith(shown)) process.stdout.write("\n\n");
  process.stdout.write(text.startsWith(shown) ? text.slice(shown.length) : text);
  shown = text;
};

try {
  const answer = await client.ask(content, { onEvent: (event, text) => text && show(text) });
  if (answer.text) show(answer.text);
  process.stdout.write("\n");
  if (answer.error) console.error(`${answer.error.message} ${answer.error.hint ?? ""}`.trim());
  process.exitCode = answer.status === "done" ? 0 : 1;
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
client.close();
process.exit(); // also where a connection that died holds on
