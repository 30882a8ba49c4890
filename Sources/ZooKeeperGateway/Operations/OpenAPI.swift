/// The queue's interface as an OpenAPI 3 document, which is served as `/openapi.json`.
enum OpenAPI {
    /// - Parameter version: the program's.
    static func text(version: String) -> String {
        #"""
        {
          "openapi": "3.0.3",
          "info": {
            "title": "Queues in ZooKeeper", "version": \#(Document.json(version)),
            "description": "Sending, leasing and settling messages. A name in a query that is not listed here is refused. A lease belongs to the gateway's session and lasts as long as it is extended; then its message is given back."
          },
          "servers": [{"url": "."}],
          "paths": {
            "/queues/v1": {
              "get": {
                "operationId": "listQueues", "summary": "The queues that are known.",
                "responses": {
                  "200": {
                    "description": "Their paths.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "type": "object", "required": ["queues"],
                          "properties": {"queues": {"type": "array", "items": {"type": "string"}}}
                        }
                      }
                    }
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                }
              ],
              "get": {
                "operationId": "count", "summary": "How many messages are where.",
                "parameters": [
                  {
                    "name": "age", "in": "query",
                    "description": "Whether to look for the oldest, which reads the list of all.",
                    "schema": {"type": "boolean"}
                  }
                ],
                "responses": {
                  "200": {
                    "description": "Counts.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Counts"}}}
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoQueue"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/messages": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                }
              ],
              "post": {
                "operationId": "send", "summary": "Store messages.",
                "parameters": [
                  {
                    "name": "priority", "in": "query", "description": "Of a raw body; a lower one is served first.",
                    "schema": {"type": "integer", "minimum": 0, "maximum": 999, "default": 100}
                  },
                  {
                    "name": "Idempotency-Key", "in": "header",
                    "description": "The id of a raw body: of all sends with it, one is stored.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
                  }
                ],
                "requestBody": {
                  "required": false,
                  "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Send"}},
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
                  }
                },
                "responses": {
                  "201": {
                    "description": "Stored.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "type": "object", "required": ["messages"],
                          "properties": {
                            "messages": {
                              "type": "array",
                              "items": {
                                "type": "object", "required": ["duplicate"],
                                "properties": {"name": {"type": "string"}, "duplicate": {"type": "boolean"}}
                              }
                            }
                          }
                        }
                      }
                    }
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "429": {
                    "description": "The queue is full.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                  },
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              },
              "get": {
                "operationId": "browse", "summary": "Look at the first messages; nothing is taken.",
                "parameters": [
                  {
                    "name": "limit", "in": "query", "description": "How many.",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
                  }
                ],
                "responses": {
                  "200": {
                    "description": "Messages.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "type": "object", "required": ["messages"],
                          "properties": {"messages": {"type": "array", "items": {"$ref": "#/components/schemas/Message"}}}
                        }
                      }
                    }
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoQueue"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              },
              "delete": {
                "operationId": "purge", "summary": "Remove all ready messages.",
                "responses": {
                  "200": {
                    "description": "How many.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Count"}}}
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoQueue"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/leases": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                }
              ],
              "post": {
                "operationId": "lease", "summary": "Lease messages.",
                "parameters": [
                  {
                    "name": "count", "in": "query", "description": "How many at most.",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1}
                  },
                  {
                    "name": "wait", "in": "query", "description": "Seconds to wait for the first.",
                    "schema": {"type": "integer", "minimum": 0, "maximum": 60, "default": 0}
                  },
                  {
                    "name": "seconds", "in": "query", "description": "How long each is leased.",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 43200, "default": 30}
                  }
                ],
                "responses": {
                  "200": {
                    "description": "What there was.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "type": "object", "required": ["leases"],
                          "properties": {"leases": {"type": "array", "items": {"$ref": "#/components/schemas/Lease"}}}
                        }
                      },
                      "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
                    }
                  },
                  "204": {"description": "There was none, and octets were asked for."},
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoQueue"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "429": {
                    "description": "Too many are leased already.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                  },
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/leases/{lease}/acknowledge": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                },
                {"name": "lease", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}},
                {
                  "name": "token", "in": "query", "description": "The lease's fencing token.",
                  "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"}, "required": true
                }
              ],
              "post": {
                "operationId": "acknowledge", "summary": "It is done.",
                "responses": {
                  "204": {"description": "The message is gone."},
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoLease"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "409": {"$ref": "#/components/responses/LeaseLost"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/leases/{lease}/give-back": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                },
                {"name": "lease", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}},
                {
                  "name": "token", "in": "query", "description": "The lease's fencing token.",
                  "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"}, "required": true
                }
              ],
              "post": {
                "operationId": "giveBack", "summary": "Back to its place.",
                "parameters": [
                  {
                    "name": "reason", "in": "query", "description": "Is kept with a dead letter.",
                    "schema": {"type": "string"}
                  }
                ],
                "responses": {
                  "204": {"description": "It is ready again, or a dead letter after too many deliveries."},
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoLease"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "409": {"$ref": "#/components/responses/LeaseLost"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/leases/{lease}/dead-letter": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                },
                {"name": "lease", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}},
                {
                  "name": "token", "in": "query", "description": "The lease's fencing token.",
                  "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"}, "required": true
                }
              ],
              "post": {
                "operationId": "deadLetter", "summary": "To the dead letters.",
                "parameters": [
                  {
                    "name": "reason", "in": "query", "description": "Is kept with a dead letter.",
                    "schema": {"type": "string"}
                  }
                ],
                "responses": {
                  "204": {"description": "It is a dead letter."},
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoLease"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "409": {"$ref": "#/components/responses/LeaseLost"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/leases/{lease}/extend": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                },
                {"name": "lease", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}},
                {
                  "name": "token", "in": "query", "description": "The lease's fencing token.",
                  "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"}, "required": true
                }
              ],
              "post": {
                "operationId": "extend", "summary": "Lease it longer.",
                "parameters": [
                  {
                    "name": "seconds", "in": "query", "description": "From now on.",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 43200, "default": 30}
                  }
                ],
                "responses": {
                  "200": {
                    "description": "Extended.",
                    "content": {
                      "application/json": {
                        "schema": {"type": "object", "required": ["seconds"], "properties": {"seconds": {"type": "integer"}}}
                      }
                    }
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoLease"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "409": {"$ref": "#/components/responses/LeaseLost"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/dead": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                }
              ],
              "get": {
                "operationId": "deadLetters", "summary": "Look at dead letters.",
                "parameters": [
                  {
                    "name": "limit", "in": "query", "description": "How many.",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
                  }
                ],
                "responses": {
                  "200": {
                    "description": "Dead letters.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "type": "object", "required": ["messages"],
                          "properties": {"messages": {"type": "array", "items": {"$ref": "#/components/schemas/DeadLetter"}}}
                        }
                      }
                    }
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              },
              "delete": {
                "operationId": "purgeDeadLetters", "summary": "Remove all dead letters.",
                "responses": {
                  "200": {
                    "description": "How many.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Count"}}}
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/dead/redrive": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                }
              ],
              "post": {
                "operationId": "redriveAll", "summary": "Send all dead letters back.",
                "responses": {
                  "200": {
                    "description": "How many.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Count"}}}
                  },
                  "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {"$ref": "#/components/responses/NoQueue"},
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            },
            "/queues/v1/{queue}/dead/{name}/redrive": {
              "parameters": [
                {
                  "name": "queue", "in": "path", "required": true,
                  "description": "The queue's path without its first slash; further parts follow with slashes.",
                  "schema": {"type": "string", "pattern": "^(?!\\.{1,2}$)[ -.0-~ -퟿豈-￯]+$"}
                },
                {
                  "name": "name", "in": "path", "required": true,
                  "schema": {"type": "string", "pattern": "^item-[0-9]{3}-[0-9]{10}$"}
                }
              ],
              "post": {
                "operationId": "redrive", "summary": "Send a dead letter back.",
                "responses": {
                  "204": {"description": "It is ready again."}, "400": {"$ref": "#/components/responses/BadRequest"},
                  "401": {"$ref": "#/components/responses/Unauthorized"},
                  "403": {"$ref": "#/components/responses/Forbidden"},
                  "404": {
                    "description": "There is no such dead letter, or queue.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                  },
                  "408": {"$ref": "#/components/responses/Timeout"},
                  "413": {"$ref": "#/components/responses/TooLarge"},
                  "414": {"$ref": "#/components/responses/URLTooLong"},
                  "421": {"$ref": "#/components/responses/UnknownHost"},
                  "501": {"$ref": "#/components/responses/Unsupported"},
                  "502": {"$ref": "#/components/responses/Refused"},
                  "503": {"$ref": "#/components/responses/Unavailable"},
                  "504": {"$ref": "#/components/responses/Unknown"}
                }
              }
            }
          },
          "components": {
            "responses": {
              "BadRequest": {
                "description": "An argument is not valid, or not known.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "Unauthorized": {"description": "A name and a password are needed."},
              "Forbidden": {
                "description": "ZooKeeper's access control does not permit it.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "Timeout": {"description": "The body did not come in time."},
              "TooLarge": {"description": "More data than a request may have; base64 and escapes do not count."},
              "URLTooLong": {"description": "The URL is too long."},
              "UnknownHost": {
                "description": "The gateway is not to be asked for under this name (allowedHosts).",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "Unsupported": {
                "description": "The queue's tree has a format, or the body a transfer coding, that this release does not know.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "Refused": {
                "description": "ZooKeeper refused it.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "Unavailable": {"description": "The ensemble, or the gateway, does not take it now."},
              "Unknown": {
                "description": "No answer came; a send may be stored.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "NoQueue": {
                "description": "There is no such queue.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "NoLease": {
                "description": "There is no lease of this id and token.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              },
              "LeaseLost": {
                "description": "The lease was lost, or has ended otherwise.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
              }
            },
            "schemas": {
              "Problem": {
                "type": "object", "required": ["error", "message"],
                "properties": {"error": {"type": "string"}, "message": {"type": "string"}}
              },
              "Send": {
                "type": "object", "required": ["messages"], "additionalProperties": false,
                "properties": {
                  "messages": {
                    "type": "array",
                    "items": {
                      "type": "object", "additionalProperties": false,
                      "properties": {
                        "payload": {"type": "string", "description": "Where it is UTF-8."},
                        "payloadBase64": {"type": "string", "description": "Where it is not."},
                        "priority": {"type": "integer", "minimum": 0, "maximum": 999, "default": 100},
                        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                        "id": {"type": "string", "minLength": 1, "maxLength": 255}
                      }
                    }
                  }
                }
              },
              "Message": {
                "type": "object", "required": ["name", "priority", "deliveryCount", "enqueueTime", "headers"],
                "properties": {
                  "name": {"type": "string"}, "priority": {"type": "integer"}, "deliveryCount": {"type": "integer"},
                  "enqueueTime": {"type": "integer", "description": "Milliseconds since 1970, by the ensemble's clock."},
                  "headers": {"type": "object", "additionalProperties": {"type": "string"}}, "id": {"type": "string"},
                  "payload": {"type": "string", "description": "Where it is UTF-8."},
                  "payloadBase64": {"type": "string", "description": "Where it is not."}
                }
              },
              "Lease": {
                "type": "object",
                "required": ["lease", "token", "name", "priority", "deliveryCount", "enqueueTime", "headers", "seconds"],
                "properties": {
                  "name": {"type": "string"}, "priority": {"type": "integer"}, "deliveryCount": {"type": "integer"},
                  "enqueueTime": {"type": "integer", "description": "Milliseconds since 1970, by the ensemble's clock."},
                  "headers": {"type": "object", "additionalProperties": {"type": "string"}}, "id": {"type": "string"},
                  "lease": {"type": "string"},
                  "token": {"type": "string", "description": "64 bits: more than a number of scripts holds."},
                  "seconds": {"type": "integer"}, "payload": {"type": "string", "description": "Where it is UTF-8."},
                  "payloadBase64": {"type": "string", "description": "Where it is not."}
                }
              },
              "DeadLetter": {
                "type": "object", "required": ["name", "cause", "time", "headers"],
                "properties": {
                  "payload": {"type": "string", "description": "Where it is UTF-8."},
                  "payloadBase64": {"type": "string", "description": "Where it is not."}, "name": {"type": "string"},
                  "cause": {"type": "string"}, "time": {"type": "integer"},
                  "headers": {"type": "object", "additionalProperties": {"type": "string"}}, "id": {"type": "string"}
                }
              },
              "Counts": {
                "type": "object", "required": ["ready", "leased", "partial", "dead", "consumers", "created"],
                "properties": {
                  "ready": {"type": "integer"}, "leased": {"type": "integer"}, "partial": {"type": "integer"},
                  "dead": {"type": "integer"}, "consumers": {"type": "integer"}, "created": {"type": "integer"},
                  "bytes": {"type": "integer"}, "maximumMessages": {"type": "integer"},
                  "maximumBytes": {"type": "integer"}, "oldestAgeSeconds": {"type": "number"}
                }
              },
              "Count": {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}}
            }
          }
        }
        """#
    }
}
