from django.urls import path

from ingress.api import views

urlpatterns = [
    path("events", views.EventList.as_view(), name="events"),
    path("events/<name:name>", views.EventDetail.as_view(), name="event"),
]
