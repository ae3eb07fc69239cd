// A LibreChat as the Code Interpreter sees it: one line a request, one an answer.
import { Console } from "node:console";
import diagnostics from "node:diagnostics_channel";
import { createInterface } from "node:readline";

// The agents packages log to the console, from their import on; stdout carries the answers only.
globalThis.console = new Console(process.stderr);
const { Conversation } = await import("./conversation.mjs");
const fileCalls = await import("./file_calls.mjs");
const sandboxFiles = await import("./sandbox_files.mjs");

const conversations = new Map();
const requests = [];
diagnostics.subscribe("http.client.request.start", ({ request }) =>
  requests.push(`${request.method} ${request.path}`),
);

const operations = {
  ...fileCalls,
  ...sandboxFiles,
  openConversation: ({ conversation, ...options }) => {
    conversations.set(conversation, new Conversation(options));
  },
  callTools: ({ conversation, calls }) => conversations.get(conversation).call(calls),
  takeRequests: () => requests.splice(0),
};

async function answer({ operation, ...request }) {
  try {
    return { result: (await operations[operation](request)) ?? null };
  } catch (error) {
    const { status = null, data = null } = error.response ?? {};
    const body = data?.pipe || Buffer.isBuffer(data) ? null : data;
    return { error: { message: error.message, status, body } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
