// LibreChat's calls for files, with the headers, connections and timeouts of its releases.
import { createReadStream, createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import http from "node:http";
import { posix } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";

import FormData from "form-data";

import { axiosVersion, baseUrl, callHeaders } from "./settings.mjs";

const MAX_BODY = 150 * 1024 * 1024;
const { default: axios } = await import(`axios-${axiosVersion}`);
const noKeepAlive = new http.Agent({ keepAlive: false });

// Releases up to 0.8.3 used the process's default agent, which keeps connections open.
const agentFor = (sharedAgent) => (sharedAgent ? {} : { httpAgent: noKeepAlive });

function queryOf({ kind, id, version, entityId } = {}) {
  const query = new URLSearchParams();
  if (entityId) query.set("entity_id", entityId);
  if (kind) query.set("kind", kind);
  if (kind) query.set("id", id);
  if (version != null) query.set("version", String(version));
  return query.size > 0 ? `?${query}` : "";
}

// form-data keeps the directories of a name only as `filepath`; releases with a key do not use it.
function nameOption(name, keepDirectories) {
  return keepDirectories && name.includes("/")
    ? { filename: posix.basename(name), filepath: name }
    : name;
}

function formOf({ scope = {}, readOnly, files, keepDirectories }) {
  const form = new FormData();
  if (scope.entityId) form.append("entity_id", scope.entityId);
  if (scope.kind) form.append("kind", scope.kind);
  if (scope.kind) form.append("id", scope.id);
  if (scope.version != null) form.append("version", String(scope.version));
  if (readOnly) form.append("read_only", "true");
  for (const { name, path, unknownLength } of files) {
    const source = createReadStream(path);
    form.append(
      "file",
      unknownLength ? source.pipe(new PassThrough()) : source,
      nameOption(name, keepDirectories),
    );
  }
  return form;
}

async function post(path, form, userId) {
  const { data } = await axios.post(`${baseUrl}${path}`, form, {
    headers: {
      ...form.getHeaders(),
      "Content-Type": "multipart/form-data",
      "User-Id": userId,
      ...callHeaders,
    },
    ...agentFor(false),
    timeout: 120_000,
    maxContentLength: MAX_BODY,
    maxBodyLength: MAX_BODY,
  });
  return data;
}

export async function upload({ file, userId, ...request }) {
  const data = await post("/upload", formOf({ files: [file], ...request }), userId);
  if (data.message !== "success") throw new Error(`Error uploading file: ${data.message}`);
  return data;
}

export async function uploadBatch({ userId, ...request }) {
  const data = await post("/upload/batch", formOf({ ...request, keepDirectories: true }), userId);
  if (!data.storage_session_id || !Array.isArray(data.files))
    throw new Error("Unexpected batch upload response");
  if (data.message === "error") throw new Error("All files in batch upload failed");
  return data;
}

function get(path, { timeout, sharedAgent, ...options }) {
  return axios({
    method: "get",
    url: `${baseUrl}${path}`,
    headers: callHeaders,
    ...agentFor(sharedAgent),
    timeout,
    ...options,
  });
}

/** Up to 0.8.5: the listing of the file's session, searched by the start of the name. */
export async function freshnessByListing({ sessionId, id, entityId, sharedAgent }) {
  const params = { detail: "summary", ...(entityId && { entity_id: entityId }) };
  const { data } = await get(`/files/${sessionId}`, { params, sharedAgent, timeout: 5_000 });
  return data.find((file) => file.name.startsWith(`${sessionId}/${id}`))?.lastModified;
}

/** From 0.8.6: the object's own metadata. */
export async function freshnessByObject({ sessionId, id, scope }) {
  const { data } = await get(`/sessions/${sessionId}/objects/${id}${queryOf(scope)}`, {
    timeout: 5_000,
  });
  return data?.lastModified;
}

/** The newest releases: whether the listing still has the file. */
export async function isAlive({ sessionId, id, scope }) {
  const query = queryOf(scope).replace("?", "&");
  const { data } = await get(`/files/${sessionId}?detail=summary${query}`, { timeout: 5_000 });
  return data.some((file) => file.fileId === id);
}

export async function listFiles({ sessionId, detail }) {
  const { data } = await get(`/files/${sessionId}`, { params: { detail }, timeout: 5_000 });
  return data;
}

export async function download({ sessionId, id, scope, stream, to }) {
  const { data, headers } = await get(`/download/${sessionId}/${id}${queryOf(scope)}`, {
    responseType: stream ? "stream" : "arraybuffer",
    timeout: 15_000,
  });
  await (stream ? pipeline(data, createWriteStream(to)) : writeFile(to, data));
  return { ...headers };
}

/** What a tool answer brought is fetched side by side. */
export const downloadAll = ({ downloads }) => Promise.all(downloads.map(download));

const routesOf = (sessionId, id) => ({
  objects: `/sessions/${sessionId}/objects/${id}`,
  files: `/files/${sessionId}/${id}`,
});

/** 0.8.6 to 0.8.8 try the object's route, then the file's; the newest know the second one only. */
export async function deleteFile({ sessionId, id, scope, routes }) {
  const statuses = [];
  for (const route of routes) {
    const { status } = await axios({
      method: "delete",
      url: `${baseUrl}${routesOf(sessionId, id)[route]}${queryOf(scope)}`,
      headers: callHeaders,
      ...agentFor(false),
      timeout: 15_000,
      validateStatus: (code) => (code >= 200 && code < 300) || code === 404 || code === 405,
    });
    statuses.push(status);
    if (status < 300) break;
  }
  return statuses;
}
