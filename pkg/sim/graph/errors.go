package graph

import (
	"fmt"
	"net/http"
	"time"
)

// apiError is an answer with an OData error body.
type apiError struct {
	status  int
	code    string
	message string
	header  http.Header
	// inner repeats the message inside innerError, as the authentication method
	// endpoints do (microsoft-graph-docs#18091).
	inner bool
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

// body is {"error":{code,message,innerError:{date,request-id,client-request-id}}}.
func (e *apiError) body(r *request, now time.Time) any {
	inner := map[string]any{
		"date":              now.UTC().Format("2006-01-02T15:04:05"),
		"request-id":        r.id,
		"client-request-id": r.clientID,
	}
	if e.inner {
		inner["message"] = e.message
	}
	return map[string]any{"error": map[string]any{"code": e.code, "message": e.message, "innerError": inner}}
}

func errNotFound(key string) *apiError {
	return &apiError{status: http.StatusNotFound, code: "Request_ResourceNotFound",
		message: fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", key)}
}

func errBadRequest(format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: "BadRequest", message: fmt.Sprintf(format, args...)}
}

// errDirectory is the 400 of directory objects.
func errDirectory(format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: "Request_BadRequest", message: fmt.Sprintf(format, args...)}
}

func errUnsupportedQuery(format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: "Request_UnsupportedQuery", message: fmt.Sprintf(format, args...)}
}

// errMethod is the 400 of the authentication method endpoints.
func errMethod(format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: "badRequest", message: fmt.Sprintf(format, args...), inner: true}
}

// errMethodNotFound is the 404 of the authentication method endpoints; code and text are
// assumed.
func errMethodNotFound() *apiError {
	return &apiError{status: http.StatusNotFound, code: "resourceNotFound", message: "Resource not found.", inner: true}
}

func errDenied() *apiError {
	return &apiError{status: http.StatusForbidden, code: "Authorization_RequestDenied",
		message: "Insufficient privileges to complete the operation."}
}

// errExtension is an error of the service behind change notifications.
func errExtension(status int, format string, args ...any) *apiError {
	return &apiError{status: status, code: "ExtensionError", message: fmt.Sprintf(format, args...)}
}

func errToken(message string) *apiError {
	return &apiError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: message,
		header: http.Header{"Www-Authenticate": {`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`}}}
}
