import { existsSync } from "node:fs";
import { createRequire } from "node:module";

import { agentsVersion, apiKey, authHeaders, executionProfile } from "./settings.mjs";

// Imported by path: the package's own entry point would load every language model.
const tools = new URL(`./node_modules/agents-${agentsVersion}/dist/esm/tools/`, import.meta.url);
const bashExecutor = new URL("BashExecutor.mjs", tools);
const { ToolNode } = await import(new URL("ToolNode.mjs", tools));
const { createCodeExecutionTool } = await import(new URL("CodeExecutor.mjs", tools));
const { createBashExecutionTool } = existsSync(bashExecutor) ? await import(bashExecutor) : {};
const { AIMessage } = createRequire(tools)("@langchain/core/messages");

// The key of the one code session of a run, whatever the tool.
const CODE_SESSION = "execute_code";

function toolsWithKey({ files, userId, timeout }) {
  const factory = { user_id: userId, files, LIBRECHAT_CODE_API_KEY: apiKey };
  return [createCodeExecutionTool(timeout ? { ...factory, timeout } : factory)];
}

function toolsWithoutKey({ userId, timeout, runtimeSessionHint }) {
  const common = {
    authHeaders: () => authHeaders,
    ...(executionProfile && { executionProfile }),
    ...(runtimeSessionHint && {
      statefulSessions: true,
      runtimeSessionHint,
      executionProfile: "stateful",
    }),
    ...(timeout && { timeout }),
  };
  return [createCodeExecutionTool({ ...common, user_id: userId }), createBashExecutionTool(common)];
}

/**
 * One run of an agent. Uploads are known from the start: releases with a key get them as the tool's
 * own parameter, later ones as the files of the code session.
 */
export class Conversation {
  #sessions = new Map();
  #node;
  #count = 0;

  constructor({ files, ...options }) {
    if (apiKey) {
      this.#node = new ToolNode({
        tools: toolsWithKey({ files, ...options }),
        sessions: this.#sessions,
      });
      return;
    }
    if (files.length > 0) {
      const session_id = files[0].storage_session_id;
      this.#sessions.set(CODE_SESSION, { session_id, files, lastUpdated: Date.now() });
    }
    this.#node = new ToolNode({ tools: toolsWithoutKey(options), sessions: this.#sessions });
  }

  /** All calls of one model answer: the tool node runs them side by side. */
  async call(calls) {
    const toolCalls = calls.map(({ name, args }) => ({
      name,
      args,
      id: `call_${++this.#count}`,
      type: "tool_call",
    }));
    const message = new AIMessage({ content: "", tool_calls: toolCalls });
    const { messages } = await this.#node.invoke({ messages: [message] }, { configurable: {} });
    return {
      answers: messages.map(({ content, status, artifact }) => ({ content, status, artifact })),
      session: this.#sessions.get(CODE_SESSION) ?? null,
    };
  }
}
