"""What the OpenAPI document says of requests whose bodies and headers are handled by hand."""

from __future__ import annotations

from typing import Any

_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_TEXT = {"type": "string"}

_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": _TEXT, "message": _TEXT},
        }
    },
}

_ERRORS = {
    400: "a bad key, header, digest, cursor or body",
    401: "no token, an unknown one, or one that has expired",
    403: "the token does not allow this",
    404: "there is no such object",
    408: "the body came too slowly",
    412: "a condition does not hold",
    413: "the body is too large",
    415: "the body is encoded",
    416: "the object has none of the bytes that were asked for",
    422: "a parameter is out of its range",
    429: "too many requests: wait as long as Retry-After says",
    500: "the gateway failed",
    501: "the store cannot do that",
    502: "the store refuses the gateway, or its bytes do not verify",
    503: "the store or the gateway is busy: try again",
    504: "the store is too slow",
}

_ALWAYS = (400, 401, 403, 429, 500, 502, 503, 504)


def _errors(*statuses: int) -> dict[int | str, Any]:
    content = {"application/json": {"schema": _ERROR_SCHEMA}}
    return {
        status: {"description": _ERRORS[status], "content": content}
        for status in sorted((*_ALWAYS, *statuses))
    }


def _header(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": what, "schema": _TEXT}


_KEY = {
    "name": "key",
    "in": "path",
    "required": True,
    "description": "the key, percent-encoded; a slash may stand as it is",
    "schema": {"type": "string", "minLength": 1},
}
_SECURITY: dict[str, Any] = {"security": [{"token": []}]}
_READ_CONDITIONS = [
    _header("If-Match", "only if the object has one of these ETags"),
    _header("If-None-Match", "304 if the object has one of these ETags"),
    _header("If-Modified-Since", "304 unless it was written since"),
    _header("If-Unmodified-Since", "412 if it was written since"),
]

PUT: dict[str, Any] = {
    "summary": "Store an object",
    "responses": {
        200: {
            "description": "it is stored, whole and verified",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["key", "size", "created_at"],
                        "properties": {
                            "key": _TEXT,
                            "size": {"type": "integer"},
                            "created_at": {"type": "string", "format": "date-time"},
                            "etag": {"type": ["string", "null"]},
                            "sha256": {"type": ["string", "null"]},
                            "verdict": _TEXT,
                        },
                    }
                }
            },
        },
        **_errors(408, 412, 413, 415, 501),
    },
    "openapi_extra": {
        **_SECURITY,
        "parameters": [
            _KEY,
            _header("Content-MD5", "the MD5 of the body in base64; it is compared"),
            _header("Repr-Digest", "sha-256=:<base64>: of the body; it is compared, and kept"),
            _header("If-None-Match", "* stores only if there is no such object"),
            _header("If-Match", "stores only if the object has this ETag"),
        ],
        "requestBody": {"required": False, "content": _BINARY},
    },
}

GET: dict[str, Any] = {
    "summary": "Read an object",
    "responses": {
        200: {"description": "the object", "content": {"*/*": {}}},
        206: {"description": "some of its bytes", "content": {"*/*": {}}},
        304: {"description": "the reader has it already"},
        **_errors(404, 412, 416),
    },
    "openapi_extra": {
        **_SECURITY,
        "parameters": [
            _KEY,
            _header("Range", "bytes=first-last, bytes=first- or bytes=-length"),
            _header("If-Range", "the ETag or date that Range is meant for"),
            *_READ_CONDITIONS,
        ],
    },
}

HEAD: dict[str, Any] = {
    "summary": "What is known of an object",
    "responses": {
        200: {"description": "its size, type, ETag and digest, in headers"},
        304: {"description": "the reader has it already"},
        **_errors(404, 412),
    },
    "openapi_extra": {**_SECURITY, "parameters": [_KEY, *_READ_CONDITIONS]},
}

DELETE: dict[str, Any] = {
    "summary": "Delete an object",
    "status_code": 204,
    "responses": {204: {"description": "it is deleted"}, **_errors(404, 501)},
    "openapi_extra": {**_SECURITY, "parameters": [_KEY]},
}

LIST: dict[str, Any] = {
    "summary": "List keys",
    "responses": {
        200: {
            "description": "a page of keys in the order of their code points",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["keys", "next_cursor", "has_more"],
                        "properties": {
                            "keys": {"type": "array", "items": _TEXT},
                            "next_cursor": {"type": ["string", "null"]},
                            "has_more": {"type": "boolean"},
                        },
                    }
                }
            },
        },
        **_errors(422, 501),
    },
    "openapi_extra": _SECURITY,
}

PRESIGN: dict[str, Any] = {
    "summary": "Sign a URL",
    "responses": {200: {"description": "the URL, and when it expires"}, **_errors(413, 422)},
    "openapi_extra": {
        **_SECURITY,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["key"],
                        "additionalProperties": False,
                        "properties": {
                            "key": {"type": "string", "minLength": 1, "maxLength": 1024},
                            "method": {"enum": ["GET", "PUT"]},
                            "expires": {"type": "integer", "minimum": 1, "maximum": 604800},
                        },
                    }
                }
            },
        },
    },
}

#: How clients show who they are.
SECURITY_SCHEMES = {"token": {"type": "http", "scheme": "bearer"}}
