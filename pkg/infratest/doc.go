// Package infratest checks infra/ without a cloud: the catalogue of functions against the
// code, the Terraform text against rules, and what Terraform makes of it against both. It
// also breaks infra/ in one place after the other and expects to notice.
//
// It is tests only. It knows the settings of functions and the local stack, and nothing of
// what functions do. What needs Terraform runs with the flag -terraform, as make infra
// sets it; the rest always runs.
package infratest
