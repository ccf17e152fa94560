package servicebus

import "net/http"

func (s *Server) adminHandler() http.Handler { return http.NotFoundHandler() }
